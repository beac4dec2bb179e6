"""Finds every crash position of the journeys, and kills the process that reaches one, right there."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from batzen.client import new_request_id
from batzen.orchestrator.v1.webhooks_pb2 import PutWebhookSubscriptionRequest
from batzen.status.v1.status_pb2 import ListPaymentsRequest
from local.mail_sink import MailSink, mail_sink
from local.ports import free_ports
from local.storage import Storage
from local.suite import Suite, running_suite
from services.runtime.database.connections import plain_dsn
from tests.eventually import WITHIN_S, eventually
from tests.forking import ForkServer
from tests.orchestrator.hooks import told
from tests.orchestrator.receivers import Receiver, receiver, says
from tests.suite.journeys import JOURNEYS, PAID, Ends, Traveller

SERVICES: Final = ("orchestrator", "pricing", "status", "gateway")
SETTLED_WITHIN_S: Final = 10.0
"""What is promised, after the restart of what was killed. Most are held to it: a busy machine is late at some."""
PASSED_WITHIN_S: Final = 0.5
MAILED_WITHIN_S: Final = 120.0
"""After the last crash of all: a mail that was not taken is tried again after half a minute."""
AT_ONCE: Final = "UPDATE mails SET due_time = now() WHERE state = 'WAITING' AND due_time > now()"
"""As if the rest after a try that failed were over."""
MAILS: Final = (
    "SELECT payment_id, kind, recipient_kind, state, end_reason, problem FROM mails WHERE payment_id = ANY ($1)"
)

WORK: Final = (
    "payments.",
    "expiries.",
    "quote_ends.",
    "mails.",
    "mail.",
    "events.",
    "deliveries.",
    "notices.",
    "calls.",
    "settlements.",
    "disputes.",
    "looks.",
    "balance_reads.",
    "event_polls.",
    "account_polls.",
    "poll.",
    "ledger_days.",
    "reconciliations.",
    "erasures.",
)
"""Kinds of due work, which the engine begins and ends when there is some."""
BOOKS: Final = ("balance.", "ledger.begin:", "ledger.close:", "ledger.chains:")
"""What reads the platform's balance and closes days for all payments, by the clock or after a hint; nobody waits."""
TELLING: Final = ("feeds.", "facts.", "charge_reminders.", "hooks.", "hook.")
"""What hears of payments and tells people and systems, after the fact; no payment waits for it."""
DIAGNOSING: Final = ("diagnosis.", "diagnosis_rounds.")
"""What compares records, by the clock; it changes nothing that a payment says."""
SECOND: Final = ("call.read:", "start.contact:")
"""A look at what came of a call that was made before, and what only a repeated caller says: who comes second passes."""
OF_EVENTS: Final = ("method.take:", "method.observe:", "method.renew:", "method.release:")
"""What events of a payer's methods lead to, which our own calls did before."""
BESIDE: Final = ("customer.change.",)
"""What is told to Stripe beside a call, which nobody waits for."""
BACKGROUND: Final = (
    "lease.renew:",
    "sweep.",
    "lease.release:",
    "webhook.",
    "deliver.",
    "notice.",
    *OF_EVENTS,
    *BESIDE,
    *WORK,
    *BOOKS,
    *DIAGNOSING,
    *SECOND,
    *TELLING,
)
"""Positions that depend on what happens to wait or to run late; they are struck by whoever comes by."""


@dataclass(slots=True, kw_only=True)
class Rig:
    """A suite whose services record crash positions and die at the armed one; what dies is started again."""

    suite: Suite
    record: Path
    armed: Path
    system: Receiver
    """Of the platform's own: is sent how each payment moves."""
    mails: MailSink
    paid: list[str] = field(default_factory=list)
    """Payments whose money was taken."""
    settled_s: list[float] = field(default_factory=list)
    """How long after the restart of what was killed each payment had settled."""
    deaths: asyncio.Queue[tuple[str, float]] = field(default_factory=asyncio.Queue)
    """Which process died, and when it served again."""

    @asynccontextmanager
    async def travelling(self) -> AsyncIterator[Traveller]:
        """Yield a shop with a payer who is new here, so that each journey makes its own customer."""
        assert self.suite.sandbox is not None
        payer_id = f"payer_{secrets.token_hex(6)}"
        async with (
            self.suite.client("service", sub="shop") as shop,
            self.suite.client("payer", sub=payer_id) as payer,
        ):
            yield Traveller(self.suite, shop, payer, self.suite.sandbox, payer_id=payer_id)

    async def tend(self) -> None:
        """Start again whatever ends, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for service in SERVICES:
                group.create_task(self._tend(service))

    async def _tend(self, service: str) -> None:
        while True:
            await self.suite.ended(service)
            await self.suite.start(service)
            self.deaths.put_nowait((service, time.monotonic()))

    async def was_struck(self, traveller: Traveller, payment_id: str, ends: Ends) -> bool:
        """Wait until the armed position was reached, or the journey has settled without; disarm it then."""
        settled = asyncio.ensure_future(traveller.until(payment_id, ends.state))
        try:
            await eventually(lambda: not self.armed.exists() or settled.done(), within_s=2 * WITHIN_S)
            # What is seen as done was committed a moment ago; the position after it is yet to be passed.
            with contextlib.suppress(AssertionError):
                await eventually(lambda: not self.armed.exists(), within_s=PASSED_WITHIN_S)
        finally:
            settled.cancel()
            await asyncio.wait({settled})
        return not self.disarm()

    def arm(self, position: str) -> None:
        """Have the next process that reaches a position die there."""
        self.deaths = asyncio.Queue()
        self.armed.write_text(position)

    def disarm(self) -> bool:
        """Have nobody die any more; return whether nobody did. Who takes the file away dies, so that one alone does."""
        try:
            self.armed.unlink()
        except FileNotFoundError:
            return False
        return True

    async def subscribe(self) -> None:
        """Have the platform's system sent how payments move."""
        put = PutWebhookSubscriptionRequest(
            request_id=new_request_id(),
            subscription_id="system",
            url=self.system.url(),
            kinds=["PAYMENT_MOVED"],
            actor_id="anna",
            reason="a test",
        )
        async with self.suite.client("operator", sub="anna") as operators:
            await operators.orchestrator_ops.PutWebhookSubscription(put)

    async def check_told(self) -> int:
        """Check that the system was sent each revision of each payment, in order; return of how many payments."""
        async with self.suite.client("operator", sub="anna") as operators:
            now, token = {}, ""
            while True:
                page = await operators.status.ListPayments(ListPaymentsRequest(page_size=200, page_token=token))
                now |= {payment.payment_id: payment.revision for payment in page.payments}
                token = page.next_page_token
                if not token:
                    break
        await eventually(lambda: self._told_last() == now, what="each payment's last revision")
        for payment_id, revisions in self._told().items():
            # Those of before the first is followed are told from then on.
            assert revisions == list(range(revisions[0], now[payment_id] + 1)), payment_id
        return len(now)

    def _told(self) -> dict[str, list[int]]:
        """Return of each payment the revisions that were sent, each where it came first."""
        found: dict[str, dict[int, None]] = {}
        for payment_id, revision in told(self.system.requests):
            found.setdefault(payment_id, {})[revision] = None
        return {payment_id: list(revisions) for payment_id, revisions in found.items()}

    def _told_last(self) -> dict[str, int]:
        return {payment_id: revisions[-1] for payment_id, revisions in self._told().items()}

    async def next_death(self) -> tuple[str, float]:
        """Wait for the process that was struck to be back; return its name and since when it serves."""
        async with asyncio.timeout(WITHIN_S):
            return await self.deaths.get()

    def ended(self, payment_id: str, ends: Ends) -> None:
        """Note that a journey has ended as it should."""
        if ends.state in PAID and ends.charges:
            self.paid.append(payment_id)

    async def all_mailed(self) -> None:
        """Wait until each payer was mailed that their money came, whatever died meanwhile."""
        connection = await asyncpg.connect(plain_dsn(self.suite.owner_url("orchestrator")))
        try:
            await connection.execute(AT_ONCE)
            await eventually(lambda: not self._not_mailed(), within_s=MAILED_WITHIN_S)
        except AssertionError:
            rows = await connection.fetch(MAILS, self._not_mailed())
            raise AssertionError(f"not mailed: {self._not_mailed()}; mails {[tuple(row) for row in rows]}") from None
        finally:
            await connection.close()

    def _not_mailed(self) -> list[str]:
        received = [one.part("plain") for one in self.mails.arrived if "received" in str(one.message["Subject"])]
        return [payment_id for payment_id in self.paid if not any(payment_id in text for text in received)]

    def positions(self) -> list[str]:
        """Return the positions recorded so far, in the order they were first reached."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return list(dict.fromkeys(lines))


def ports_of_each(count: int) -> list[dict[str, int]]:
    """Return free ports for suites that start at once; none is another's, too."""
    ports: list[dict[str, int]] = []
    for _ in range(count):
        ports.append(free_ports(besides={port for one in ports for port in one.values()}))
    return ports


@asynccontextmanager
async def rigged(storage: Storage, forks: ForkServer, *, ports: Mapping[str, int]) -> AsyncIterator[Rig]:
    """Run a suite that can be killed at its crash positions."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-crash-")))
        folder.chmod(0o711)
        record, armed = folder / "record", folder / "armed"
        settings = {"BATZEN_CRASH_RECORD": str(record), "BATZEN_CRASH_FILE": str(armed)}
        mails = await stack.enter_async_context(mail_sink())
        sending = {"BATZEN_SMTP_URL": mails.smtp_url, "BATZEN_MAIL_FROM": "pay@batzen.example"}
        suite = await stack.enter_async_context(
            running_suite(
                folder / "suite",
                ports=ports,
                storage=storage,
                extra=dict.fromkeys(SERVICES, settings) | {"orchestrator": settings | sending},
                spawn=forks.spawn,
            )
        )
        system = await stack.enter_async_context(receiver(says("204 No Content")))
        rig = Rig(suite=suite, record=record, armed=armed, system=system, mails=mails)
        await rig.subscribe()
        tending = asyncio.create_task(rig.tend())
        try:
            async with rig.travelling() as traveller:
                await traveller.put_seller()
            yield rig
        finally:
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending


async def record(rig: Rig, journeys: Collection[str]) -> list[tuple[str, str]]:
    """Run these journeys once; return (journey, position) for each position, under the first that reached it."""
    known = set(rig.positions())
    found = []
    for name in journeys:
        journey, ends = JOURNEYS[name]
        async with rig.travelling() as traveller:
            payment_id = await journey(traveller)
            await traveller.until(payment_id, ends.state)
            await traveller.check(payment_id, ends)
            rig.ended(payment_id, ends)
        for position in rig.positions():
            if position not in known:
                known.add(position)
                found.append((name, position))
    return found


async def strike(rig: Rig, name: str, position: str) -> str | None:
    """Take a journey with the process killed at `position`; return what went wrong, or None.

    Which of two things comes first decides whether some journeys pass a position: then the others try.
    """
    for tried in (name, *(other for other in JOURNEYS if other != name)):
        rig.arm(position)
        try:
            if await struck(rig, tried) or position.startswith(BACKGROUND):
                return None
        except Exception as problem:  # noqa: BLE001 each position is judged by itself, and all are reported
            rig.disarm()
            return f"{tried}: {type(problem).__name__}: {problem}"
    return "was recorded, and not reached again"


async def struck(rig: Rig, name: str) -> bool:
    """Take a journey, which has to end as it should if the armed position was reached; return whether it was."""
    journey, ends = JOURNEYS[name]
    async with rig.travelling() as traveller:
        payment_id = await journey(traveller)
        if not await rig.was_struck(traveller, payment_id, ends):
            return False
        _, serving_again = await rig.next_death()
        await traveller.until(payment_id, ends.state)
        rig.settled_s.append(time.monotonic() - serving_again)
        await traveller.check(payment_id, ends)
        rig.ended(payment_id, ends)
    return True

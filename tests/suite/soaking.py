"""Random histories of payments, and random trouble while they happen. A seed decides both.

What each payment's people do is drawn from the seed and the payment's number; what goes wrong, from the seed and the
number of steps that all of them have taken. How the two meet is up to the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

import httpx

from batzen import errors
from batzen.client import Client, new_request_id
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2
from local.environments import SERVICES
from local.suite import Suite
from sandbox.control import Refused
from sandbox.faults import Kind
from tests.eventually import persistently
from tests.suite.journeys import AGAIN, PAID, RETURN_URL, TOTAL_MINOR, Traveller, state_name

PAYERS: Final = tuple(f"soak_payer_{number}" for number in range(3))
PLAYERS: Final = 8
"""Payments that move at once."""
COUPON_USES_MAX: Final = 1_000_000
"""Of the coupon that every second payment uses: limited, so that its uses are counted, and never used up."""
ABANDONED_AFTER_S: Final = 4
CALL_TIMEOUT_S: Final = 3.0
ANSWERED_WITHIN_S: Final = 90.0
BROWSER_PATIENCE_S: Final = 2.0

DECLINED: Final = "pm_card_chargeDeclined"
STOLEN: Final = "pm_card_radarBlock"
ASKING: Final = "pm_card_threeDSecure2Required"
GOOD: Final = "pm_card_visa"

DEFINITE: Final = frozenset({"PAYMENT_STATE", "REFUNDABLE_CHANGED", "REFUND_EXCEEDS_REFUNDABLE"})
"""Refusals that rivals cause each other; any other is a fault of ours."""
ROUTES: Final = (
    "POST /v1/payment_intents",
    "POST /v1/payment_intents/*/confirm",
    "POST /v1/payment_intents/*/confirm",
    "POST /v1/payment_intents/*/cancel",
    "POST /v1/refunds",
    "POST /v1/customers",
    "GET /v1/*",
    "*",
)
FAULT_EVERY: Final = 4
SWITCH_EVERY: Final = 25
KILL_EVERY: Final = 35
"""Steps between two faults, two settings of the webhooks, and two deaths."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something the payer tries."""

    kind: str
    card: str = GOOD
    copies: int = 1
    """The same request so many times at once."""
    authenticates: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What is going to be tried with one payment."""

    payer_id: str
    start_copies: int
    acts: tuple[Act, ...]
    refunds_minor: tuple[int, ...]
    rivals: bool
    """The refunds are asked for at once, each on the balance that all of them saw."""
    late_money: bool

    @classmethod
    def draw(cls, seed: int, number: int) -> Plot:
        """Return the plot of a payment, the same for the same seed and number."""
        chance = random.Random(f"{seed}/plot/{number}")
        copies = chance.choice((1, 1, 2, 3))

        def act(kind: str, card: str = GOOD) -> Act:
            return Act(kind=kind, card=card, copies=copies, authenticates=chance.random() < 0.7)

        tries = [act(chance.choice(("submit", "browser")), chance.choice((DECLINED, ASKING))) for _ in range(2)]
        endings: Sequence[list[Act]] = (
            [act("submit")],
            [act("submit")],
            [act("submit", ASKING)],
            [act("browser")],
            [act("browser", ASKING)],
            [*tries[: chance.randrange(3)], act("submit")],
            [act("submit", STOLEN)],
            [act("cancel")],
            [act("submit and cancel")],
            [act("submit and browser")],
            [act("browser and cancel", ASKING)],
            [],
        )
        return cls(
            payer_id=chance.choice(PAYERS),
            start_copies=chance.choice((1, 1, 1, 4)),
            acts=tuple(chance.choice(endings)),
            refunds_minor=tuple(chance.choice((1, 999, 2_500, TOTAL_MINOR)) for _ in range(chance.randrange(4))),
            rivals=chance.random() < 0.3,
            late_money=chance.random() < 0.15,
        )


@dataclass(slots=True, kw_only=True)
class Claim:
    """What the people of one payment were told."""

    number: int
    payment_id: str
    payer_id: str
    start: orchestrator_pb2.StartPaymentRequest
    paid: bool = False
    canceled: bool = False
    late_money: bool = False
    refund_ids: set[str] = field(default_factory=set)
    revisions: list[int] = field(default_factory=list)
    """Those that its watcher was sent, in the order in which they came."""
    facts: set[tuple[int, str, datetime]] = field(default_factory=set)
    """The same as revision, request id and time of record: written again, it would be another."""


class Troubles:
    """What goes wrong, by the number of steps taken."""

    def __init__(self, suite: Suite, seed: int, *, restart_database: Callable[[], Awaitable[None]] | None) -> None:
        self.steps = 0
        self.told: Counter[str] = Counter()
        self._suite = suite
        self._seed = seed
        self._restart_database = restart_database
        self._turns = random.Random(f"{seed}/turns").sample(SERVICES, len(SERVICES))
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def step(self) -> None:
        """Take note of a step, and make the trouble that is due with it."""
        self.steps += 1
        number, chance = self.steps, random.Random(f"{self._seed}/trouble/{self.steps}")
        if number % FAULT_EVERY == 0:
            await self._fault(chance)
        if number % SWITCH_EVERY == 0:
            await self._suite.sandbox.webhooks(
                duplicate=chance.choice((0, 0, 2)),
                drop=chance.choice((0.0, 0.0, 0.3)),
                reorder=chance.random() < 0.5,
                delay_s=chance.choice((0.0, 0.0, 0.2)),
            )
            self.told["settings of the webhooks"] += 1
        if number % KILL_EVERY == 0:
            victims = {
                self._turns[number // KILL_EVERY % len(self._turns)],
                *chance.sample(SERVICES, chance.randrange(2)),
            }
            if self._restart_database is not None and chance.random() < 0.1:
                self._begin("the database", self._restart_database)
            for victim in sorted(victims):
                self._begin(victim, partial(self._kill, victim))

    async def end(self) -> None:
        """Let nothing go wrong any more, and wait until everything runs."""
        if self._tasks:
            await asyncio.gather(*self._tasks.values())
        await self._suite.sandbox.clear_faults()
        await self._suite.sandbox.webhooks()

    def _begin(self, what: str, trouble: Callable[[], Awaitable[None]]) -> None:
        if what in self._tasks:
            return
        self.told[f"deaths of {what}"] += 1
        self._tasks[what] = task = asyncio.ensure_future(trouble())
        task.add_done_callback(lambda ended: self._tasks.pop(what) if not ended.exception() else None)

    async def _kill(self, service: str) -> None:
        await self._suite.kill(service)
        await self._suite.start(service)

    async def _fault(self, chance: random.Random) -> None:
        kinds = [Kind.SERVER_ERROR] * 6 + [Kind.RESET] * 4 + [Kind.RATE_LIMIT, Kind.LOCK_TIMEOUT, Kind.SLOW] * 2
        kind = chance.choice([*kinds, Kind.TIMEOUT])
        await self._suite.sandbox.fault(
            kind,
            route=chance.choice(ROUTES),
            after=chance.random() < 0.5,
            should_retry=chance.choice((None, True, False)),
            stored=chance.choice((None, True, False)),
            seconds=chance.uniform(0.1, 0.5),
        )
        self.told[f"faults of kind {kind}"] += 1


class Calm(Troubles):
    """No trouble but what somebody else makes."""

    async def step(self) -> None:
        self.steps += 1


class Player:
    """Plays plots, one after the other."""

    call_timeout_s: float = CALL_TIMEOUT_S

    def __init__(
        self, suite: Suite, shop: Client, payers: dict[str, Client], troubles: Troubles, *, coupon_code: str
    ) -> None:
        """Every second payment uses the coupon."""
        self._coupon_code = coupon_code
        self.claims: list[Claim] = []
        self.ended: Counter[str] = Counter()
        self.answers: list[tuple[float, str]] = []
        """When each call was answered, by the monotonic clock, and with what kind of message."""
        self._suite = suite
        self._shop = shop
        self._payers = payers
        self._sandbox = suite.sandbox
        self._troubles = troubles
        self._watching: list[asyncio.Task[None]] = []

    async def play(self, number: int, plot: Plot) -> None:
        """Take one payment through its plot."""
        claim, client_secret = await self._start(number, plot)
        self._watching.append(asyncio.create_task(self._watch(claim)))
        for act in plot.acts:
            await self._act(claim, act, client_secret)
        payment = await self._payment(claim)
        if plot.refunds_minor and state_name(payment.state) in PAID:
            await self._refund(claim, plot, payment)
        if plot.late_money and claim.canceled:
            await self._late_money(claim)
        self.ended[state_name((await self._payment(claim)).state)] += 1

    async def until_all_is_watched(self) -> None:
        """Wait for the watches, each of which ends when its payment is settled; cancels them if cancelled."""
        await asyncio.gather(*self._watching)

    async def replay(self, claim: Claim) -> tuple[str, str]:
        """Start a payment again under its old request id; return the payment it names, and why another body is not."""
        again = await self.persist(
            lambda: self._shop.orchestrator.StartPayment(claim.start, timeout=self.call_timeout_s)
        )
        other = orchestrator_pb2.StartPaymentRequest()
        other.CopyFrom(claim.start)
        other.lines[0].unit_amount.amount_minor += 1
        try:
            await self.persist(lambda: self._shop.orchestrator.StartPayment(other, timeout=self.call_timeout_s))
        except errors.AlreadyExists as refusal:
            return again.session.payment.payment_id, refusal.reason
        return again.session.payment.payment_id, "answered"

    async def persist(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make a call until it is answered or refused for good."""

        def note(failure: errors.BatzenError) -> None:
            self._troubles.told[f"calls that ended {failure.code.name}"] += 1

        answer = await persistently(call, again=(*AGAIN, errors.Cancelled), within_s=ANSWERED_WITHIN_S, noting=note)
        self.answers.append((time.monotonic(), type(answer).__name__))
        await self._troubles.step()
        return answer

    async def _start(self, number: int, plot: Plot) -> tuple[Claim, str]:
        payer = self._payers[plot.payer_id]
        traveller = Traveller(self._suite, self._shop, payer, self._sandbox, payer_id=plot.payer_id)
        request = traveller.start_request()
        if number % 2:
            request.coupon_codes.append(self._coupon_code)
        answers = await self._copies(
            plot.start_copies, lambda: self._shop.orchestrator.StartPayment(request, timeout=self.call_timeout_s)
        )
        [payment_id] = {answer.session.payment.payment_id for answer in answers}
        claim = Claim(number=number, payment_id=payment_id, payer_id=plot.payer_id, start=request)
        self.claims.append(claim)
        secrets = {answer.session.client_secret for answer in answers} - {""}
        return claim, next(iter(secrets), "")

    async def _copies(self, copies: int, call: Callable[[], Awaitable[Answer]]) -> list[Answer]:
        answers = await asyncio.gather(*(self.persist(call) for _ in range(copies)), return_exceptions=True)
        refusals = [answer for answer in answers if isinstance(answer, BaseException)]
        if refusals:
            assert len(refusals) == copies, f"some were refused and some were not: {answers}"
            raise refusals[0]
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def _act(self, claim: Claim, act: Act, client_secret: str) -> None:
        doing = []
        for part in act.kind.split(" and "):
            match part:
                case "submit":
                    doing.append(self._submit(claim, act))
                case "browser":
                    doing.append(self._in_browser(claim, act, client_secret))
                case "cancel":
                    doing.append(self._cancel(claim, act))
        await asyncio.gather(*doing)

    async def _submit(self, claim: Claim, act: Act) -> None:
        request = orchestrator_pb2.SubmitPaymentRequest(
            request_id=new_request_id(), payment_id=claim.payment_id, payment_method_id=act.card
        )
        payer = self._payers[claim.payer_id]
        with _definite():
            answers = await self._copies(
                act.copies, lambda: payer.orchestrator.SubmitPayment(request, timeout=self.call_timeout_s)
            )
            claim.paid = claim.paid or any(state_name(answer.payment.state) in PAID for answer in answers)
            url = next((answer.next_action.redirect_url for answer in answers if answer.next_action.redirect_url), "")
            if url:
                await self._browse(self._sandbox.answer_3ds(url, succeed=act.authenticates))
                await self._sync(claim)

    async def _in_browser(self, claim: Claim, act: Act, client_secret: str) -> None:
        """Pay as the payer's browser does, which comes back to the shop in the end, whatever it heard."""
        if not client_secret:
            return
        await self._browse(self._sandbox.browser_confirm(client_secret, payment_method=act.card, return_url=RETURN_URL))
        if act.card == ASKING:
            intent_id = client_secret.partition("_secret_")[0]
            await self._browse(self._sandbox.authenticate(intent_id, succeed=act.authenticates))
        await self._sync(claim)

    async def _browse(self, browsing: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(BROWSER_PATIENCE_S):
                await browsing
        except (Refused, httpx.TransportError, TimeoutError):
            self._troubles.told["disappointed browsers"] += 1

    async def _sync(self, claim: Claim) -> None:
        payer = self._payers[claim.payer_id]
        request = orchestrator_pb2.SyncPaymentRequest(payment_id=claim.payment_id)
        answer = await self.persist(lambda: payer.orchestrator.SyncPayment(request, timeout=self.call_timeout_s))
        claim.paid = claim.paid or state_name(answer.payment.state) in PAID

    async def _cancel(self, claim: Claim, act: Act) -> None:
        request = orchestrator_pb2.CancelPaymentRequest(request_id=new_request_id(), payment_id=claim.payment_id)
        payer = self._payers[claim.payer_id]
        with _definite():
            await self._copies(
                act.copies, lambda: payer.orchestrator.CancelPayment(request, timeout=self.call_timeout_s)
            )
            claim.canceled = True

    async def _refund(self, claim: Claim, plot: Plot, payment: status_pb2.Payment) -> None:
        if plot.rivals:
            await asyncio.gather(*(self._give_back(claim, amount, payment) for amount in plot.refunds_minor))
            return
        for amount_minor in plot.refunds_minor:
            await self._give_back(claim, amount_minor, payment)
            payment = await self._payment(claim)

    async def _give_back(self, claim: Claim, amount_minor: int, payment: status_pb2.Payment) -> None:
        amounts = payment.snapshot.amounts
        refundable_minor = amounts.captured_minor - amounts.refunded_minor - amounts.refund_pending_minor
        amount_minor = min(amount_minor, refundable_minor)
        if amount_minor <= 0:
            return
        request = orchestrator_pb2.RefundPaymentRequest(
            request_id=new_request_id(),
            payment_id=claim.payment_id,
            amount=money_pb2.Money(amount_minor=amount_minor, currency_code="CHF"),
            expected_refundable=money_pb2.Money(amount_minor=refundable_minor, currency_code="CHF"),
            actor_id="clerk",
        )
        with _definite():
            answer = await self.persist(
                lambda: self._shop.orchestrator.RefundPayment(request, timeout=self.call_timeout_s)
            )
            claim.refund_ids.add(answer.refund_id)

    async def _late_money(self, claim: Claim) -> None:
        [intent] = await self._sandbox.objects("payment_intent", **{"metadata.payment_id": claim.payment_id})
        await self._sandbox.succeed(intent["id"])
        claim.late_money = True
        await self._sync(claim)

    async def _payment(self, claim: Claim) -> status_pb2.Payment:
        request = status_pb2.GetPaymentRequest(payment_id=claim.payment_id)
        return (await self.persist(lambda: self._shop.status.GetPayment(request, timeout=self.call_timeout_s))).payment

    async def _watch(self, claim: Claim) -> None:
        payer = self._payers[claim.payer_id]
        async with payer.watch(claim.payment_id, after_revision=0, until_settled=True) as updates:
            async for update in updates:
                claim.revisions.append(update.revision)
                recorded = update.record_time.ToDatetime(UTC)
                claim.facts.add((update.revision, update.request_id, recorded))


@contextmanager
def _definite() -> Iterator[None]:
    """Take a refusal by the state of the payment, or by a rival's refund, for an answer."""
    try:
        yield
    except errors.FailedPrecondition as refusal:
        if refusal.reason not in DEFINITE:
            raise


@asynccontextmanager
async def soaking(
    suite: Suite,
    seed: int,
    *,
    restart_database: Callable[[], Awaitable[None]] | None = None,
    troubles_of: type[Troubles] = Troubles,
) -> AsyncIterator[tuple[Player, Troubles]]:
    """Make a shop, payers who soon abandon what they do not pay, and trouble."""
    environment = suite.env_for("orchestrator")
    environment["BATZEN_ABANDONED_AFTER_S"] = str(ABANDONED_AFTER_S)
    await suite.restart("orchestrator")
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(suite.client("service", sub="shop"))
        payers = {payer_id: await stack.enter_async_context(suite.client("payer", sub=payer_id)) for payer_id in PAYERS}
        operator = Traveller(suite, shop, payers[PAYERS[0]], suite.sandbox)
        coupon_code = await operator.put_coupon(uses_max=COUPON_USES_MAX)
        troubles = troubles_of(suite, seed, restart_database=restart_database)
        yield Player(suite, shop, payers, troubles, coupon_code=coupon_code), troubles
        del environment["BATZEN_ABANDONED_AFTER_S"]
        await suite.restart("orchestrator")


async def play_all(player: Player, plots: Callable[[int], Plot | None]) -> None:
    """Play the plots numbered from 0 up to the first None, `PLAYERS` at a time."""
    numbers = itertools.count()

    async def play() -> None:
        while (plot := plots(number := next(numbers))) is not None:
            await player.play(number, plot)

    async with asyncio.TaskGroup() as group:
        for _ in range(PLAYERS):
            group.create_task(play())

"""A few payers, readers and watchers of the services in a cluster, and what they had to complain about."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Final, TypeVar

from batzen import errors
from batzen.client import Client
from batzen.gateway.v1 import sellers_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from local.suite import Suite
from tests.eventually import eventually
from tests.suite.browsers import Browsers, unheard, waited
from tests.suite.cluster import REPLICAS, Cluster, in_a_cluster
from tests.suite.journeys import AGAIN, SELLER, Traveller
from tests.suite.soaking import (
    ASKING,
    COUPON_USES_MAX,
    DECLINED,
    GOOD,
    Act,
    Claim,
    Player,
    Plot,
    Troubles,
)
from tests.suite.verdict import problems

DEADLINE_S: Final = 15.0
"""Of a call. Half of a client's own, and more than a busy machine takes; how long the slowest took is told."""
ABANDONED_AFTER_S: Final = 20
"""So that a payment ends whose payer gave up on a slow page."""
PLAYING: Final = 3
READING: Final = 2
PAUSE_S: Final = 0.1
SETTLED_WITHIN_S: Final = 90.0
FAILURES: Final = (*AGAIN, errors.Cancelled)


Answer = TypeVar("Answer")
Say = Callable[[str], None]


class Load:
    """Calls that are counted, and how long each took."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.failures: list[str] = []
        self.calls: Counter[str] = Counter()
        self.slowest_s: Counter[str] = Counter()
        self.late_s: list[float] = []
        """How long after its commit each update reached its watcher."""
        self.gaps_s: list[float] = []
        """How long the feed was without a stream, each time it lost one."""

    async def counted(self, what: str, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make a call once, and note how it went. What it raises passes."""
        begun = time.monotonic()
        try:
            return await call()
        except FAILURES as failure:
            self.failures.append(f"{time.strftime('%H:%M:%S')} {what}: {failure!r}")
            raise
        finally:
            self.calls[what] += 1
            self.slowest_s[what] = max(self.slowest_s[what], time.monotonic() - begun)  # type: ignore[assignment]


class Untroubled(Troubles):
    """Nothing goes wrong but what the cluster does."""

    async def step(self) -> None:
        self.steps += 1


class Payers(Player):
    """Players who take note of each call that fails, and then go on as stubbornly as ever."""

    call_timeout_s = DEADLINE_S

    def __init__(
        self,
        load: Load,
        suite: Suite,
        shop: Client,
        payers: dict[str, Client],
        browsers: Browsers,
        *,
        coupon_code: str,
    ) -> None:
        super().__init__(
            suite, shop, payers, Untroubled(suite, load.seed, restart_database=None), coupon_code=coupon_code
        )
        self._load = load
        self._clients = payers
        self._browsers = browsers
        self.payer_ids = tuple(payers)
        self.seed = load.seed

    async def persist(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await self._load.counted("a payment's step", call)
        except FAILURES:
            return await super().persist(call)

    async def _watch(self, claim: Claim) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_by_client(claim))
            group.create_task(self._browsers.pay(claim.payment_id, claim.payer_id))

    async def _watch_by_client(self, claim: Claim) -> None:
        watching = self._clients[claim.payer_id].watch(claim.payment_id, after_revision=0, until_settled=True)
        async with watching as updates:
            async for update in updates:
                claim.revisions.append(update.revision)
                self._load.late_s.append(time.time() - update.record_time.ToNanoseconds() / 1e9)


def plot(seed: int, number: int, payer_ids: Sequence[str]) -> Plot:
    """Return what is tried with a payment: to its end, and by one caller at a time, so that no rival is refused."""
    chance = random.Random(f"{seed}/plot/{number}")
    endings: Sequence[tuple[Act, ...]] = (
        (Act(kind="submit", card=GOOD),),
        (Act(kind="submit", card=GOOD),),
        (Act(kind="submit", card=ASKING),),
        (Act(kind="browser", card=GOOD),),
        (Act(kind="submit", card=DECLINED), Act(kind="submit", card=GOOD)),
        (Act(kind="cancel"),),
    )
    return Plot(
        payer_id=chance.choice(payer_ids),
        start_copies=1,
        acts=chance.choice(endings),
        refunds_minor=(2_500,) if chance.random() < 0.3 else (),
        rivals=False,
        late_money=False,
    )


async def play(players: Payers, until: asyncio.Event) -> None:
    """Take payments to their end, `PLAYING` at a time, until it is enough."""
    numbers = iter(range(sys.maxsize))

    async def one_after_the_other() -> None:
        while not until.is_set():
            number = next(numbers)
            await players.play(number, plot(players.seed, number, players.payer_ids))

    await asyncio.gather(*(one_after_the_other() for _ in range(PLAYING)))


async def read(load: Load, shop: Client, operator: Client, payment_id: str, until: asyncio.Event) -> None:
    """Read from each service again and again."""
    one = status_pb2.GetPaymentRequest(payment_id=payment_id)
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "status.GetPayment": lambda: shop.status.GetPayment(one, timeout=DEADLINE_S),
        "status.ListTransitions": lambda: shop.status.ListTransitions(
            status_pb2.ListTransitionsRequest(payment_id=payment_id), timeout=DEADLINE_S
        ),
        "orchestrator.GetPaymentPlan": lambda: operator.orchestrator.GetPaymentPlan(
            orchestrator_pb2.GetPaymentPlanRequest(payment_id=payment_id), timeout=DEADLINE_S
        ),
        "pricing.ListTaxRates": lambda: operator.pricing.ListTaxRates(
            pricing_pb2.ListTaxRatesRequest(), timeout=DEADLINE_S
        ),
        "gateway.GetSellerAccount": lambda: shop.sellers.GetSellerAccount(
            sellers_pb2.GetSellerAccountRequest(seller_id=SELLER), timeout=DEADLINE_S
        ),
    }
    while not until.is_set():
        for what, call in reads.items():
            try:
                await load.counted(what, call)
            except FAILURES:
                continue
        await waited(until, PAUSE_S)


async def follow(load: Load, shop: Client, until: asyncio.Event) -> dict[str, list[int]]:
    """Follow all payments by the feed, which goes on after its cursor; return the revisions of each as they came."""
    seen: dict[str, list[int]] = {}
    cursor, lost_at = "", None
    while True:
        call = shop.status.WatchPayments(status_pb2.WatchPaymentsRequest(cursor=cursor))
        try:
            async for message in call:
                if lost_at is not None:
                    load.gaps_s.append(time.monotonic() - lost_at)
                    lost_at = None
                for change in message.changes:
                    revisions = seen.setdefault(change.payment.payment_id, [])
                    if change.payment.revision not in revisions:  # at least once
                        revisions.append(change.payment.revision)
                cursor = message.cursor or cursor
                if until.is_set():
                    call.cancel()
                    return seen
        except FAILURES:
            lost_at = time.monotonic() if lost_at is None else lost_at


async def under_load(
    suite: Suite, traveller: Traveller, load: Load, act: Callable[[Cluster], Awaitable[None]], say: Say
) -> list[str]:
    """Do something to a cluster under load; return what is wrong then, but for the calls that failed."""
    enough, over = asyncio.Event(), asyncio.Event()
    coupon_code = await traveller.put_coupon(uses_max=COUPON_USES_MAX)
    read_of = (await traveller.start()).payment.payment_id
    async with AsyncExitStack() as stack:
        browsers = await stack.enter_async_context(Browsers.of(suite, load.failures.append))
        cluster = await stack.enter_async_context(
            in_a_cluster(suite, orchestrator={"BATZEN_ABANDONED_AFTER_S": str(ABANDONED_AFTER_S)})
        )

        async def client(role: str, sub: str) -> Client:
            made = Client(token=suite.token(role, sub=sub), addresses=cluster.addresses)
            return await stack.enter_async_context(made)

        shop, operator = await client("service", "shop"), await client("operator", "clerk")
        run = secrets.token_hex(3)  # judged are the payments of its own payers
        payers = {
            name: await client("payer", name) for name in (f"rolling_{run}_{number}" for number in range(PLAYING))
        }
        players = Payers(load, suite, shop, payers, browsers, coupon_code=coupon_code)
        async with asyncio.TaskGroup() as group:
            feed = group.create_task(follow(load, shop, over))
            playing = group.create_task(play(players, enough))
            group.create_task(browsers.operate(suite, enough))
            for _ in range(READING):
                group.create_task(read(load, shop, operator, read_of, enough))
            await act(cluster)
            enough.set()
            await playing
            with suppress(TimeoutError):  # what was not settled by then is told below
                async with asyncio.timeout(SETTLED_WITHIN_S + ABANDONED_AFTER_S):
                    await players.until_all_is_watched()
            over.set()
        await suite.sandbox.drain()
        left: list[str] = []

        async def is_quiet() -> bool:
            left[:] = await traveller.left_to_do()
            return not left

        try:
            await eventually(is_quiet, within_s=SETTLED_WITHIN_S, what=lambda: f"nothing is left to do, but {left}")
        finally:
            tell(say, cluster, load, players, browsers)
        return [
            *cluster.told.wrongs,
            *await problems(suite, players.claims),
            *unbroken(feed.result()),
            *unheard(browsers.tabs),
        ]


def unbroken(feed: dict[str, list[int]]) -> list[str]:
    """Return the payments of which the feed left out a revision, from the first that it has, or changed their order."""
    return [
        f"the feed has {revisions} of {payment_id}"
        for payment_id, revisions in feed.items()
        if revisions != list(range(revisions[0], revisions[0] + len(revisions)))
    ]


def tell(say: Say, cluster: Cluster, load: Load, players: Payers, browsers: Browsers) -> None:
    told, late = cluster.told, sorted(load.late_s)
    say(f"{told.restarts} rolling restarts of {REPLICAS} pods each, {len(players.claims)} payments")
    say(f"a pod was ready after {min(told.starts_s):.1f} to {max(told.starts_s):.1f} s")
    say(f"{told.started_again} containers ended before they were ready, and were started again")
    say(f"one ended within {max(told.ends_s):.2f} s of SIGTERM")
    say(f"{load.calls.total()} calls, {len(load.failures)} failed")
    say("slowest: " + ", ".join(f"{what} {seconds:.2f} s" for what, seconds in sorted(load.slowest_s.items())))
    say(f"{len(late)} updates came {late[len(late) // 2]:.3f} s (p50), {late[-1]:.3f} s (at most) after their commit")
    gaps = sorted(load.gaps_s)
    say(f"the feed lost its stream {len(gaps)} times, for {gaps[-1] if gaps else 0:.3f} s at most")
    say(
        f"{len(browsers.tabs)} tabs were told {sum(len(tab.revisions) for tab in browsers.tabs)} revisions on "
        f"{browsers.streams} streams, of which {browsers.cut} were cut"
    )
    say(f"answered were {dict(browsers.answers)}; {browsers.refused} connections were refused")
    say("\n".join([*load.failures[:20], *told.wrongs[:20]]) + "\n")

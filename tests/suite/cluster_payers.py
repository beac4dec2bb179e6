"""Payers of the services in a cluster, quick and slow, whose calls are counted."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from batzen import errors
from batzen.client import Client
from local.suite import Suite
from tests.suite.browsers import Browsers, waited
from tests.suite.journeys import AGAIN
from tests.suite.soaking import ASKING, DECLINED, GOOD, Act, Claim, Player, Plot, Troubles

DEADLINE_S: Final = 15.0
"""Of a call. Half of a client's own, and more than a busy machine takes; how long the slowest took is told."""
PLAYING: Final = 3
LINGERING: Final = 8
"""Payers who take their time, so that there are always browsers that wait while a pod goes."""
LINGERS_S: Final = (1.0, 7.0)
"""Before each thing that such a payer does; less than after what a payment is abandoned."""
FAILURES: Final = (*AGAIN, errors.Cancelled)

Answer = TypeVar("Answer")


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
        self.came_back = 0
        """How often a browser's stream ended before its payment was settled, and it began another."""

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
        self.lingering: set[int] = set()
        """The numbers of the payments whose payers take their time."""

    async def persist(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await self._load.counted("a payment's step", call)
        except FAILURES:
            return await super().persist(call)

    async def _act(self, claim: Claim, act: Act, client_secret: str) -> None:
        if claim.number in self.lingering:
            chance = random.Random(f"{self.seed}/pause/{claim.number}/{len(claim.revisions)}")
            await waited(asyncio.Event(), chance.uniform(*LINGERS_S))
        await super()._act(claim, act, client_secret)

    async def _watch(self, claim: Claim) -> None:
        if claim.number not in self.lingering:  # is over before a browser has asked
            await self._watch_by_client(claim)
            return
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


def slow_plot(seed: int, number: int, payer_ids: Sequence[str]) -> Plot:
    """Return the plot of a payer who tries a few cards before one is good, or gives up."""
    chance = random.Random(f"{seed}/slow/{number}")
    last = Act(kind="submit", card=chance.choice((GOOD, GOOD, ASKING))) if chance.random() < 0.8 else Act(kind="cancel")
    tries = (Act(kind="submit", card=DECLINED),) * chance.randint(2, 4)
    return replace(plot(seed, number, payer_ids), acts=(*tries, last))


async def play(players: Payers, until: asyncio.Event) -> None:
    """Take payments to their end, `PLAYING` at a time and `LINGERING` slow ones, until it is enough."""
    numbers = iter(range(sys.maxsize))

    async def one_after_the_other() -> None:
        while not until.is_set():
            number = next(numbers)
            await players.play(number, plot(players.seed, number, players.payer_ids))

    async def slowly() -> None:
        while not until.is_set():
            number = next(numbers)
            players.lingering.add(number)
            await players.play(number, slow_plot(players.seed, number, players.payer_ids))

    await asyncio.gather(*(one_after_the_other() for _ in range(PLAYING)), *(slowly() for _ in range(LINGERING)))

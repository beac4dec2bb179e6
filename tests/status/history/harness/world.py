"""What all watchers share: whether the world is quiet, what they have seen, their whims, and how a stream ends.

A watcher follows bare streams and has a few lines to resume, so that a report holds what the wire said and no repair.
It asks, notes down all that comes, and after an end asks again where it has come to, on any replica. Out of a whim it
also leaves early, asks from further back, stops reading for a while, or loses patience with a stream on which nothing
comes; its whims are drawn from a seed. Once the world is quiet it only follows.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from tests.refusals import details_of
from tests.status.history.reports import LEFT, Began, Came, Ended, Event, FeedStream, now_us
from tests.status.history.stored import content, payment_content

PATIENCE_S: Final = (2.0, 6.0)
"""How long a watcher waits for a sign of life while there is trouble."""
PAUSE_S: Final = (0.05, 0.5)
"""Before a watcher asks again."""
OWN_FAILURE: Final = ("INTERNAL", "Internal error from Core")
"""What grpc.aio calls it when a connection is cut as a stream begins; no server said it."""
STALL_S: Final = (0.5, 3.0)
"""How long a slow reader does not read."""


class World:
    """What all watchers share: the replicas they can reach, whether it is quiet, and the contents they have seen."""

    def __init__(self, *, settled_xid: Callable[[], Awaitable[int]]) -> None:
        self.quiet = asyncio.Event()
        self.still = asyncio.Event()
        """Nothing is written any more."""
        self.told: Counter[str] = Counter()
        self.settled_xid = settled_xid
        self.feeds: list[FeedStream] = []
        """Every feed there was, for those who go on after the cursor of another."""
        self._contents: dict[bytes, bytes] = {}
        self._patience: set[asyncio.Timeout] = set()

    def kept(self, one: bytes) -> bytes:
        """Return equal content as one object: hundreds watch the same."""
        return self._contents.setdefault(one, one)

    def hush(self) -> None:
        """From now on nobody acts out of a whim, and everybody has patience."""
        self.quiet.set()
        for patience in self._patience:
            if not patience.expired():
                patience.reschedule(None)

    @asynccontextmanager
    async def patience(self, habits: Habits) -> AsyncIterator[Callable[[], None]]:
        """Give up inside, by TimeoutError, when what is returned was not called for long enough."""
        loop, lasts_s = asyncio.get_running_loop(), habits.chance.uniform(*PATIENCE_S)

        def renew() -> None:
            if not self.quiet.is_set() and not habits.is_stoic:
                patience.reschedule(loop.time() + lasts_s)

        async with asyncio.timeout(None) as patience:
            self._patience.add(patience)
            try:
                renew()
                yield renew
            finally:
                self._patience.discard(patience)

    async def pause(self, chance: random.Random, seconds: tuple[float, float]) -> None:
        """Wait some time, or until it is quiet."""
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(*seconds)):
                await self.quiet.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a watcher behaves."""

    stubs: Sequence[StatusServiceStub]
    """The replicas as it reaches them."""
    chance: random.Random
    leaves: float = 0.01
    """How likely it leaves after a message."""
    rewinds: float = 0.1
    """How likely it then asks from further back than it has come; or adds and drops, where it watches many."""
    stalls: float = 0.0
    """How likely it stops reading for a while after a message."""

    is_stoic: bool = False
    """It waits for ever: who leaves a silent stream and asks again would not notice one that was forgotten."""

    def stub(self) -> StatusServiceStub:
        return self.chance.choice(self.stubs)


def began(
    header: pb.WatchPaymentResponse.Header | pb.WatchManyResponse.Created,
    at_us: int,
    world: World,
    payment_id: str = "",
) -> Began:
    payment = world.kept(payment_content(header.payment)) if header.HasField("payment") else None
    return Began(at_us=at_us, current_revision=header.current_revision, payment=payment, payment_id=payment_id)


def came(transition: pb.Transition, at_us: int, world: World, payment_id: str = "") -> Came:
    world.told["transitions seen"] += 1
    return Came(
        at_us=at_us, revision=transition.revision, content=world.kept(content(transition)), payment_id=payment_id
    )


async def whims(world: World, habits: Habits) -> bool:
    """Stop reading for a while, perhaps; and return whether to leave."""
    if world.quiet.is_set():
        return False
    if habits.chance.random() < habits.stalls:
        world.told["readers that did not read for a while"] += 1
        await world.pause(habits.chance, STALL_S)
    return habits.chance.random() < habits.leaves


@asynccontextmanager
async def noting_the_end(events: list[Event], world: World, what: str) -> AsyncIterator[None]:
    """Note how a stream ended, unless it was noted already or the world ends."""
    try:
        yield
    except TimeoutError:
        events.append(Ended(at_us=now_us(), code=LEFT))
    except aio.AioRpcError as error:
        events.append(ended_by(error))
    else:
        if not (events and isinstance(events[-1], Ended) and events[-1].code == LEFT):
            events.append(Ended(at_us=now_us(), code="OK"))
    ended = events[-1]
    assert isinstance(ended, Ended)
    world.told[f"ends of {what}: {ended.code} {ended.reason}".strip()] += 1


def ended_by(error: aio.AioRpcError) -> Ended:
    """Return how a stream ended."""
    info = details_of(error)
    code, details = error.code().name, (error.details() or "")[:200]
    if (code, details) == OWN_FAILURE:
        code = "UNAVAILABLE"
    return Ended(
        at_us=now_us(),
        code=code,
        reason=info.reason,
        details=details,
        resume_after_revision=int_of(info.metadata.get("resume_after_revision")),
        current_revision=int_of(info.metadata.get("current_revision")),
    )


def int_of(text: str | None) -> int | None:
    return None if text is None else int(text)

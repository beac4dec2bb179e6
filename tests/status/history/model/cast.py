"""Who watches the model beside the audience, so that each situation in which a bug shows itself comes about soon.

The audience has habits as real watchers have: few leave, few change their minds. Here are some who hardly do anything
else, and some who wait for the end of a payment that is moved to the last.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from tests.status.history.harness.audience import Audience
from tests.status.history.harness.follow_feed import follow_feed
from tests.status.history.harness.follow_many import follow_many
from tests.status.history.harness.follow_one import follow_one
from tests.status.history.harness.world import Habits, World
from tests.status.history.harness.writers import MOVED_TO_THE_END
from tests.status.history.reports import FeedStream, ManyStream, Stretch, Watcher

RESTLESS: Final = 6
PATIENT: Final = 6
FICKLE: Final = 2
"""Streams of WatchMany, and feeds."""
VISITORS: Final = 6
"""Feeds that come until they are caught up, and go, for seconds."""
LEAVES: Final = 0.3
REWINDS: Final = 0.9


def gather_cast(
    audience: Audience, world: World, stub: StatusServiceStub, payment_ids: Sequence[str], seed: str
) -> list[Coroutine[Any, Any, None]]:
    """Return the watching of the cast, and add what it reports to that of the audience."""

    def habits(name: str, *, leaves: float = 0.0, rewinds: float = 0.0) -> Habits:
        chance = random.Random(f"{seed}/{name}")
        return Habits(stubs=[stub], chance=chance, leaves=leaves, rewinds=rewinds, is_stoic=True)

    restless = [Watcher[Stretch](name=f"restless {number}") for number in range(RESTLESS)]
    patient = [Watcher[Stretch](name=f"patient {number}") for number in range(PATIENT)]
    fickle = [Watcher[ManyStream](name=f"fickle {number}") for number in range(FICKLE)]
    readers = [Watcher[FeedStream](name=f"restless feed {number}") for number in range(FICKLE)]
    visitors = [Watcher[FeedStream](name=f"visitor {number}") for number in range(VISITORS)]
    audience.ones += [*restless, *patient]
    audience.many += fickle
    audience.feeds += [*readers, *visitors]
    moved, to_the_end = payment_ids[1:], payment_ids[-MOVED_TO_THE_END:]
    return [
        *(
            follow_one(
                one,
                to_the_end[number % MOVED_TO_THE_END],
                world,
                habits(one.name, leaves=LEAVES, rewinds=REWINDS),
                after_revision=(None, 1)[number % 2],
            )
            for number, one in enumerate(restless)
        ),
        *(
            follow_one(
                one,
                to_the_end[number % MOVED_TO_THE_END],
                world,
                habits(one.name),
                after_revision=0,
                until_settled=True,
            )
            for number, one in enumerate(patient)
        ),
        *(follow_many(one, moved, world, habits(one.name, rewinds=REWINDS)) for one in fickle),
        *(follow_feed(one, pb.PaymentFilter(), world, habits(one.name, leaves=LEAVES)) for one in readers),
        *(follow_feed(one, pb.PaymentFilter(), world, habits(one.name), comes_and_goes=True) for one in visitors),
    ]

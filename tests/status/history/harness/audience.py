"""Everybody who watches in a round: what they watch, from where, and with which habits."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from batzen.client import Client
from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.type.v1 import payment_pb2
from tests.status.history.harness.follow_client import follow_with_client
from tests.status.history.harness.follow_feed import follow_feed
from tests.status.history.harness.follow_many import follow_many
from tests.status.history.harness.follow_one import follow_one
from tests.status.history.harness.world import Habits, World
from tests.status.history.reports import Attempt, FeedStream, ManyStream, Reading, Report, Stretch, Watcher

LONG_PAYMENTS: Final = 2
"""The first payments have large snapshots and are written in bursts; slow readers watch them."""
LATE_PAYMENTS: Final = 3
"""The last payments move in transactions that take a while to commit, and of which no replica hears."""
STOIC: Final = 0.5
MANY_WATCHES: Final = 16
"""Payments on one WatchMany."""


class Audience:
    """Everybody who watches in a round."""

    def __init__(self, world: World, crews: Sequence[Sequence[StatusServiceStub]], seed: str) -> None:
        self.ones: list[Watcher[Stretch]] = []
        self.many: list[Watcher[ManyStream]] = []
        self.feeds: list[Watcher[FeedStream]] = []
        self._world = world
        self._crews = crews
        self._seed = seed

    def gather(self, payment_ids: Sequence[str], number: int) -> list[Coroutine[Any, Any, None]]:
        """Return the watching of `number` watches."""
        many = number * 2 // 5 // MANY_WATCHES
        feeds = number // 20
        ones = number - many * MANY_WATCHES - feeds
        return [
            *(self._one(index, payment_ids) for index in range(ones)),
            *(self._many(index, payment_ids) for index in range(many)),
            *(self._feed(index) for index in range(feeds)),
        ]

    def with_client(self, client: Client, payment_ids: Sequence[str], number: int) -> list[Coroutine[Any, Any, None]]:
        """Return the watching of `number` watches by the client package."""
        watchers = [Watcher[Stretch](name=f"watcher {index} by the client package") for index in range(number)]
        self.ones += watchers
        chance = random.Random(f"{self._seed}/clients")
        return [follow_with_client(one, client, chance.choice(payment_ids), self._world) for one in watchers]

    def report(self, *, attempts: Sequence[Attempt], readings: Sequence[Reading]) -> Report:
        """Return what everybody reports, those who write included."""
        return Report(ones=self.ones, many=self.many, feeds=self.feeds, attempts=attempts, readings=readings)

    def _habits(self, name: str, crew: int, *, stalls: float = 0.0, rewinds: float = 0.1) -> Habits:
        chance = random.Random(f"{self._seed}/{name}")
        is_stoic = chance.random() < STOIC
        return Habits(stubs=self._crews[crew], chance=chance, stalls=stalls, rewinds=rewinds, is_stoic=is_stoic)

    def _one(self, index: int, payment_ids: Sequence[str]) -> Coroutine[Any, Any, None]:
        crew = index % len(self._crews)
        is_slow = crew == len(self._crews) - 1
        # A few who read slowly watch what is long; few others do: it costs as much as all else.
        is_of_long = is_slow and index % (4 * len(self._crews)) < len(self._crews)
        name = f"{'slow ' if is_slow else ''}watcher {index} of crew {crew}"
        habits = self._habits(name, crew, stalls=0.3 if is_of_long else 0.05 if is_slow else 0.001)
        chance = habits.chance
        watcher = Watcher[Stretch](name=name)
        self.ones.append(watcher)
        if is_of_long:
            choice = payment_ids[:LONG_PAYMENTS]
        elif chance.random() < 0.1:
            choice = payment_ids[-LATE_PAYMENTS:]
        else:
            choice = payment_ids[LONG_PAYMENTS:]
        return follow_one(
            watcher,
            chance.choice(choice),
            self._world,
            habits,
            after_revision=chance.choice((None, None, 0, 1)),
            latest_only=chance.random() < 0.25,
            until_settled=chance.random() < 0.1,
        )

    def _many(self, index: int, payment_ids: Sequence[str]) -> Coroutine[Any, Any, None]:
        crew = index % len(self._crews)
        name = f"watcher of many {index} of crew {crew}"
        habits = self._habits(name, crew, stalls=0.02 if crew == len(self._crews) - 1 else 0.0, rewinds=0.25)
        watcher = Watcher[ManyStream](name=name)
        self.many.append(watcher)
        watched = habits.chance.sample(payment_ids, min(MANY_WATCHES, len(payment_ids)))
        return follow_many(watcher, watched, self._world, habits)

    def _feed(self, index: int) -> Coroutine[Any, Any, None]:
        crew = index % len(self._crews)
        name = f"feed {index} of crew {crew}"
        habits = self._habits(name, crew, stalls=0.01)
        chance = habits.chance
        watcher = Watcher[FeedStream](name=name)
        self.feeds.append(watcher)
        return follow_feed(
            watcher,
            _filter(index, chance),
            self._world,
            habits,
            from_a_list=index % 3 == 1,
            comes_and_goes=index % 4 == 1,
        )


def _filter(index: int, chance: random.Random) -> pb.PaymentFilter:
    """Return a filter; the first few are of all kinds."""
    states = (
        payment_pb2.PAYMENT_STATE_PROCESSING,
        payment_pb2.PAYMENT_STATE_SUCCEEDED,
        payment_pb2.PAYMENT_STATE_DISPUTED,
        payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD,
    )
    kinds = (
        pb.PaymentFilter(),
        pb.PaymentFilter(states=chance.sample(states, 2)),
        pb.PaymentFilter(unsettled_only=True),
        pb.PaymentFilter(payer_id=f"payer_{chance.randrange(7)}"),
        pb.PaymentFilter(seller_id=f"seller_{chance.randrange(8)}", states=chance.sample(states, 3)),
        pb.PaymentFilter(booking_id=f"booking_{chance.randrange(20)}"),
        pb.PaymentFilter(client_reference=f"order {chance.randrange(11)}", unsettled_only=True),
    )
    return kinds[index % len(kinds)]

"""Who follows one payment by WatchPayment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from tests.status.history.harness.world import PAUSE_S, Habits, World, began, came, noting_the_end, whims
from tests.status.history.reports import LEFT, Alive, Asked, Began, Broken, Came, Ended, Event, Stretch, Watcher, now_us


async def follow_one(
    watcher: Watcher[Stretch],
    payment_id: str,
    world: World,
    habits: Habits,
    *,
    after_revision: int | None,
    latest_only: bool = False,
    until_settled: bool = False,
) -> None:
    """Watch one payment by WatchPayment, until cancelled, or it is settled if that is the wish."""
    chance = habits.chance
    while True:
        close_when = pb.WatchPaymentRequest.CLOSE_WHEN_SETTLED if until_settled else None
        request = pb.WatchPaymentRequest(
            payment_id=payment_id, after_revision=after_revision, latest_only=latest_only, close_when=close_when
        )
        asked = Asked(
            payment_id=payment_id,
            at_us=now_us(),
            after_revision=after_revision,
            latest_only=latest_only,
            until_settled=until_settled,
        )
        stretch = Stretch(watcher=watcher.name, asked=asked)
        watcher.streams.append(stretch)
        world.told["streams of WatchPayment"] += 1
        async with (
            noting_the_end(stretch.events, world, "a WatchPayment"),
            world.patience(habits) as renew,
            streaming(habits.stub().WatchPayment(request)) as messages,
        ):
            async for message in messages:
                _note_one(stretch, message, world)
                renew()
                if await whims(world, habits):
                    stretch.events.append(Ended(at_us=now_us(), code=LEFT))
                    break
        came_to = _came_to(stretch.events, after_revision)
        ended = stretch.ended
        if until_settled and ended is not None and ended.code == "OK":
            watcher.is_done = True
            return
        after_revision = came_to
        if came_to is not None and ended is not None and ended.code == LEFT and chance.random() < habits.rewinds:
            after_revision = chance.choice((None, 0, chance.randrange(came_to + 1)))
        await asyncio.sleep(chance.uniform(*PAUSE_S))


def _note_one(stretch: Stretch, message: pb.WatchPaymentResponse, world: World) -> None:
    at_us, events = now_us(), stretch.events
    match message.WhichOneof("event"):
        case "header":
            events.append(began(message.header, at_us, world))
        case "updates":
            if not message.updates.transitions:
                events.append(Broken(at_us=at_us, what="a message of no updates"))
            for transition in message.updates.transitions:
                if transition.payment_id != stretch.asked.payment_id:
                    events.append(Broken(at_us=at_us, what=f"a transition of {transition.payment_id}"))
                else:
                    events.append(came(transition, at_us, world))
        case "heartbeat":
            events.append(Alive(at_us=at_us, revision=message.heartbeat.revision))
        case _:
            events.append(Broken(at_us=at_us, what="a message of nothing"))


def _came_to(events: Sequence[Event], after_revision: int | None) -> int | None:
    """Return the last revision of a stretch, from its own point of view."""
    come_to = after_revision
    for event in events:
        match event:
            case Began(current_revision=revision) if after_revision is None:
                come_to = revision
            case Came(revision=revision):
                come_to = max(revision, come_to or 0)
    return come_to

"""Who follows a feed by WatchPayments: from now or after a list, and on after a cursor, its own or another's."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from grpc import aio

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from tests.status.history.harness.world import PAUSE_S, STALL_S, Habits, World, noting_the_end, whims
from tests.status.history.reports import (
    LEFT,
    AfterMessage,
    Change,
    Ended,
    Event,
    FeedMessage,
    FeedStream,
    FromNow,
    Listing,
    Origin,
    Watcher,
    now_us,
)
from tests.status.history.stored import payment_content

LIST_TIMEOUT_S: Final = 5.0
LIST_PAGE: Final = 20
RELATIONS: Final = {number: name for name, number in pb.WatchPaymentsResponse.Relation.items()}


async def follow_feed(
    watcher: Watcher[FeedStream],
    feed_filter: pb.PaymentFilter,
    world: World,
    habits: Habits,
    *,
    from_a_list: bool = False,
    comes_and_goes: bool = False,
) -> None:
    """Follow a feed by WatchPayments, until cancelled; who comes and goes is done after coming to a still world."""
    chance = habits.chance
    origin: Origin | None = None
    while True:
        is_still = world.still.is_set()
        if origin is None:
            origin = await _walk_to_its_end(feed_filter, world, habits) if from_a_list else FromNow()
        asked_us = now_us()
        stream = FeedStream(
            watcher=watcher.name,
            filter=feed_filter,
            origin=origin,
            asked_us=asked_us,
            settled_xid=await world.settled_xid() if comes_and_goes or isinstance(origin, FromNow) else 0,
            until_caught_up=comes_and_goes,
        )
        watcher.streams.append(stream)
        world.feeds.append(stream)
        world.told["feeds"] += 1
        await _follow_one_feed(stream, world, habits)
        if is_still and stream.ended is not None and stream.ended.code == "OK":
            watcher.is_done = True
            return
        origin = _go_on(stream, world, chance)
        if comes_and_goes:
            await world.pause(chance, STALL_S)
        await asyncio.sleep(chance.uniform(*PAUSE_S))


async def _walk_to_its_end(feed_filter: pb.PaymentFilter, world: World, habits: Habits) -> Listing:
    """Walk through the list, however often that takes; a feed begins after it."""
    while True:
        try:
            return await _walk(feed_filter, habits.stub())
        except aio.AioRpcError as error:
            world.told[f"lists that ended {error.code().name}"] += 1
            await asyncio.sleep(habits.chance.uniform(*PAUSE_S))


async def _walk(feed_filter: pb.PaymentFilter, stub: StatusServiceStub) -> Listing:
    asked_us, answered_us, cursor, token = now_us(), 0, "", ""
    revisions: dict[str, int] = {}
    while True:
        request = pb.ListPaymentsRequest(filter=feed_filter, page_size=LIST_PAGE, page_token=token)
        page = await stub.ListPayments(request, timeout=LIST_TIMEOUT_S)
        if not answered_us:
            answered_us, cursor = now_us(), page.cursor
        revisions |= {payment.payment_id: payment.revision for payment in page.payments}
        token = page.next_page_token
        if not token:
            return Listing(
                asked_us=asked_us, answered_us=answered_us, filter=feed_filter, revisions=revisions, cursor=cursor
            )


async def _follow_one_feed(stream: FeedStream, world: World, habits: Habits) -> None:
    match stream.origin:
        case Listing(cursor=cursor):
            pass
        case AfterMessage(stream=before, index=index):
            cursor = before.messages[index].cursor
        case _:
            cursor = ""
    close_when = pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP if stream.until_caught_up else None
    request = pb.WatchPaymentsRequest(filter=stream.filter, cursor=cursor, close_when=close_when)
    events: list[Event] = []
    try:
        async with (
            noting_the_end(events, world, "a feed"),
            world.patience(habits) as renew,
            streaming(habits.stub().WatchPayments(request)) as messages,
        ):
            async for message in messages:
                _note_feed(stream, message, world)
                renew()
                if await whims(world, habits):
                    events.append(Ended(at_us=now_us(), code=LEFT))
                    break
    finally:
        if events:
            [stream.ended] = events


def _note_feed(stream: FeedStream, message: pb.WatchPaymentsResponse, world: World) -> None:
    changes = tuple(
        Change(
            payment_id=change.payment.payment_id,
            revision=change.payment.revision,
            relation=RELATIONS[change.relation].removeprefix("RELATION_"),
            content=world.kept(payment_content(change.payment)),
        )
        for change in message.changes
    )
    world.told["changes seen by feeds"] += len(changes)
    stream.messages.append(FeedMessage(at_us=now_us(), changes=changes, cursor=message.cursor))


def _go_on(stream: FeedStream, world: World, chance: random.Random) -> Origin | None:
    """Return where to go on: after the last message; or, out of a whim, an earlier one, or one of another feed."""
    if not world.quiet.is_set() and chance.random() < 0.1:
        others = [other for other in world.feeds if _with_cursor(other)]
        if others:
            stream = chance.choice(others)
            return AfterMessage(stream=stream, index=chance.choice(_with_cursor(stream)))
    messages = _with_cursor(stream)
    if not messages:
        return None if isinstance(stream.origin, FromNow) else stream.origin
    if not world.quiet.is_set() and chance.random() < 0.2:
        return AfterMessage(stream=stream, index=chance.choice(messages))
    return AfterMessage(stream=stream, index=messages[-1])


def _with_cursor(stream: FeedStream) -> list[int]:
    return [index for index, message in enumerate(stream.messages) if message.cursor]

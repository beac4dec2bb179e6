"""Watching through the client, over a real channel to a real status service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from batzen import errors
from batzen.client import Client
from batzen.status.v1 import status_pb2 as pb
from batzen.watching import WatchLimits
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.status.watches.send_queue import StreamLimits
from tests.batzen.conftest import Status, serving
from tests.eventually import eventually
from tests.status.conftest import move
from tests.status.samples import new_payment_id, snapshot, succeeded


async def revisions(updates: AsyncIterator[pb.Transition], *, upto: int) -> list[int]:
    """Read until a revision is at least `upto`."""
    seen: list[int] = []
    while not seen or seen[-1] < upto:
        seen.append((await anext(updates)).revision)
    return seen


async def test_a_watch_tells_the_payment_as_it_stands_and_then_each_revision(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    await status.move(payment_id, to=3)
    async with batzen.watch(payment_id) as updates:
        first = await anext(updates)
        await status.move(payment_id, to=6)
        seen = await revisions(updates, upto=6)

    payment = (await status.stub.GetPayment(pb.GetPaymentRequest(payment_id=payment_id))).payment
    assert (first.payment_id, first.revision, first.request_id) == (payment_id, 3, "")
    assert seen == [4, 5, 6]
    assert payment.revision == 6


async def test_what_is_told_is_what_the_history_says(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    await status.move(payment_id, to=5)
    async with batzen.watch(payment_id, after_revision=1) as updates:
        told = [await anext(updates) for _ in range(4)]

    request = pb.ListTransitionsRequest(payment_id=payment_id, after_revision=1)
    assert told == list((await status.stub.ListTransitions(request)).transitions)


async def test_all_watches_of_a_client_share_one_stream_and_those_of_a_payment_one_watch(
    status: Status, batzen: Client
) -> None:
    payment_ids = [await status.open() for _ in range(20)]

    async def follow(payment_id: str) -> list[int]:
        async with batzen.watch(payment_id, after_revision=0) as updates:
            return await revisions(updates, upto=5)

    following = [asyncio.create_task(follow(payment_id)) for payment_id in payment_ids for _ in range(3)]
    for payment_id in payment_ids:
        await status.move(payment_id, to=5)

    assert await asyncio.gather(*following) == [[1, 2, 3, 4, 5]] * 60
    figures = batzen.watcher.figures
    assert (figures.attempts, figures.connects) == (1, 1)
    assert figures.received == 20 * 5


async def test_who_joins_later_is_told_what_was_before_and_the_others_are_not_told_again(
    status: Status, batzen: Client
) -> None:
    payment_id = await status.open()
    await status.move(payment_id, to=4)
    async with batzen.watch(payment_id) as early:
        assert (await anext(early)).revision == 4
        async with (
            batzen.watch(payment_id, after_revision=1) as late,
            batzen.watch(payment_id) as now,
            batzen.watch(payment_id, after_revision=4) as next_,
        ):
            assert await revisions(late, upto=4) == [2, 3, 4]
            assert (await anext(now)).revision == 4
            await status.move(payment_id, to=6)
            for updates in (early, late, now, next_):
                assert await revisions(updates, upto=6) == [5, 6]

    assert batzen.watcher.figures.connects == 1


async def test_what_its_caller_was_answered_is_not_news_to_a_watch_that_joins(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    async with batzen.watch(payment_id) as first:
        await anext(first)
        for revision in range(2, 30):
            await status.move(payment_id, to=revision)
            async with batzen.watch(payment_id) as joined:
                assert (await anext(joined)).revision == revision


@pytest.mark.parametrize("is_joined", [False, True])
@pytest.mark.parametrize(("after", "told"), [(None, [5]), (0, [1, 2, 3]), (2, [3]), (3, [4, 5]), (4, [5]), (5, [])])
async def test_a_watch_until_settled_ends_where_the_payment_settles(
    status: Status, batzen: Client, after: int | None, told: list[int], is_joined: bool
) -> None:
    payment_id = await status.open()
    steps = [snapshot(), succeeded(), succeeded(refund_pending=5), succeeded(refunded=5)]
    await move(status.stub, payment_id, *steps)
    async with batzen.watch(payment_id) as other:
        if is_joined:
            await anext(other)
        async with batzen.watch(payment_id, after_revision=after, until_settled=True) as updates:
            assert [update.revision async for update in updates] == told


async def test_a_watch_until_settled_goes_on_until_then(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    async with batzen.watch(payment_id, until_settled=True) as updates:
        assert (await anext(updates)).revision == 1
        await move(status.stub, payment_id, snapshot(), succeeded())

        assert [update.revision async for update in updates] == [2, 3]


async def test_who_wants_the_newest_alone_is_told_no_less(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    await status.move(payment_id, to=50)
    async with (
        batzen.watch(payment_id, after_revision=0) as every,
        batzen.watch(payment_id, latest_only=True) as newest,
    ):
        assert (await anext(newest)).revision == 50
        assert await revisions(every, upto=50) == list(range(1, 51))
        await status.move(payment_id, to=80)
        assert await revisions(every, upto=80) == list(range(51, 81))
        seen = await revisions(newest, upto=80)

    assert seen == [80]


@pytest.mark.parametrize("is_joined", [False, True])
async def test_a_revision_that_is_still_to_come_is_refused(status: Status, batzen: Client, is_joined: bool) -> None:
    payment_id = await status.open()
    async with batzen.watch(payment_id) as other:
        if is_joined:
            await anext(other)
        async with batzen.watch(payment_id, after_revision=7) as updates:
            with pytest.raises(errors.by_reason["REVISION_AHEAD"]) as refusal:
                await anext(updates)
        await status.move(payment_id, to=2)
        await revisions(other, upto=2)

    assert isinstance(refusal.value, errors.OutOfRange)
    assert refusal.value.metadata == {"current_revision": "1"}


async def test_a_payment_that_is_not_there_ends_its_own_watch_alone(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    async with batzen.watch(payment_id) as good, batzen.watch(new_payment_id()) as bad:
        await anext(good)
        with pytest.raises(errors.by_reason["PAYMENT_NOT_FOUND"]):
            await anext(bad)
        await status.move(payment_id, to=2)
        assert (await anext(good)).revision == 2


async def test_a_negative_revision_is_refused_at_once(batzen: Client) -> None:
    with pytest.raises(ValueError, match="after_revision"):
        async with batzen.watch(new_payment_id(), after_revision=-1):
            pass


async def test_leaving_a_watch_leaves_the_others_and_its_stream(status: Status, batzen: Client) -> None:
    payment_id, other_id = await status.open(), await status.open()
    async with batzen.watch(other_id) as other:
        for _ in range(5):
            async with batzen.watch(payment_id, after_revision=0) as updates:
                async for update in updates:
                    assert update.revision == 1
                    break
        await anext(other)
        await status.move(other_id, to=2)
        assert (await anext(other)).revision == 2

    assert batzen.watcher.figures.attempts == 1


async def test_a_reader_that_is_cancelled_while_it_waits_misses_nothing(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    async with batzen.watch(payment_id, after_revision=0) as updates:
        seen = []
        for revision in range(1, 20):
            waiting = asyncio.ensure_future(anext(updates))
            await asyncio.wait([waiting], timeout=0)
            if waiting.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            else:
                seen.append(waiting.result().revision)
            await status.move(payment_id, to=revision + 1)
        seen += await revisions(updates, upto=20)

    assert seen == list(range(1, 21))


async def test_a_slow_reader_costs_a_queue_holds_up_nobody_and_misses_nothing(status: Status) -> None:
    payment_id = await status.open()
    limits = WatchLimits(queue_max=4)
    async with (
        status.client(limits=limits) as batzen,
        batzen.watch(payment_id, after_revision=0) as slow,
        batzen.watch(payment_id, after_revision=0) as fast,
    ):
        assert (await anext(slow)).revision == 1
        for revision in range(2, 60):
            await status.move(payment_id, to=revision)
            await revisions(fast, upto=revision)
        assert await revisions(slow, upto=59) == list(range(2, 60))
        await status.move(payment_id, to=61)
        assert await revisions(slow, upto=61) == [60, 61]

        assert batzen.watcher.figures.slow_readers >= 1


async def test_more_watches_than_a_stream_may_have_open_another(database: ServiceDatabase, issuer: Issuer) -> None:
    async with (
        serving(database, issuer, feed_limits=StreamLimits(watches_per_stream_max=2)) as status,
        status.client(limits=WatchLimits(streams_max=3)) as batzen,
    ):
        payment_ids = [await status.open() for _ in range(7)]

        begun: list[str] = []

        async def follow(payment_id: str) -> list[int] | str:
            async with batzen.watch(payment_id, after_revision=0) as updates:
                try:
                    first = await anext(updates)
                    begun.append(payment_id)
                    return [first.revision, *await revisions(updates, upto=2)]
                except errors.ResourceExhausted as error:
                    begun.append(payment_id)
                    return error.reason

        following = [asyncio.create_task(follow(payment_id)) for payment_id in payment_ids]
        await eventually(lambda: len(begun) == len(payment_ids))  # none ends, and gives its place up, before
        for payment_id in payment_ids:
            await status.move(payment_id, to=2)

        assert sorted(map(str, await asyncio.gather(*following))) == ["TOO_MANY_WATCHES"] + ["[1, 2]"] * 6
        assert batzen.watcher.figures.connects == 3
        async with batzen.watch(payment_ids[0]) as updates:  # there is room again
            assert (await anext(updates)).revision == 2


async def test_closing_the_client_ends_its_watches(status: Status) -> None:
    payment_id = await status.open()
    async with status.client() as batzen:
        async with batzen.watch(payment_id) as updates:
            await anext(updates)
            waiting = asyncio.ensure_future(anext(updates))
            await asyncio.sleep(0)
            await batzen.close()
            with pytest.raises(errors.Cancelled):
                await waiting
        with pytest.raises(errors.Cancelled):
            async with batzen.watch(payment_id):
                pass


async def test_what_was_seen_is_known_by_id_and_what_is_awaited_is_listed(status: Status, batzen: Client) -> None:
    open_id, paid_id = await status.open(), await status.open()
    async with batzen.watch(open_id) as first, batzen.watch(paid_id) as second:
        await anext(first)
        await move(status.stub, paid_id, snapshot(), succeeded())
        await revisions(second, upto=3)

    seen = batzen.watcher.seen
    paid = seen.get(paid_id)
    assert paid is not None
    assert (paid.revision, paid.settled) == (3, True)
    assert [update.payment_id for update in seen.active()] == [open_id]
    assert seen.get(new_payment_id()) is None

"""A reader that does not read costs a bounded amount, and nobody else anything."""

from __future__ import annotations

import asyncio

from grpc import aio

from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.rpc.limits import Limits
from services.status.watches.send_queue import StreamLimits
from tests.eventually import WITHIN_S
from tests.status.conftest import StatusServiceStub, running_replica
from tests.status.samples import open_request, record_request, snapshot
from tests.status.watching import SMALL_WINDOW, header, rest, revisions, watch

LARGE = "x" * 15_000


async def fill(status: StatusServiceStub, payment_id: str, *, expected: int, number: int) -> None:
    for revision in range(expected, expected + number):
        to = snapshot(attempt=revision, reason=LARGE)
        await status.RecordTransition(record_request(payment_id, expected=revision, to=to))


async def test_a_slow_reader_gets_all_at_its_own_pace_and_others_at_theirs(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    limits = StreamLimits(queue_max=4, queue_bytes_max=100_000)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(slow, payment_id) as stalled, watch(status, payment_id) as quick:
            await header(stalled)
            await header(quick)
            reading = asyncio.create_task(revisions(quick, upto=41))
            await fill(status, payment_id, expected=1, number=40)
            assert await reading == list(range(2, 42))

            assert await revisions(stalled, upto=41) == list(range(2, 42))


async def test_a_reader_that_takes_nothing_is_told_to_resume_later(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(queue_max=4, stall_max_s=0.2, write_grace_s=0.05)
    async with (
        running_replica(
            database.runtime_url, issuer=issuer, feed_limits=limits, limits=Limits(streams_per_caller_max=1)
        ) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(slow, payment_id) as stalled:
            await header(stalled)
            await fill(status, payment_id, expected=1, number=40)
            async with asyncio.timeout(WITHIN_S):
                while not await may_watch(slow, payment_id):
                    pass

            seen, refusal = await rest(stalled)

        assert refusal is not None
        if refusal.reason is not None:  # the status may have been lost behind what was not read
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "WATCH_OVERFLOW")
            assert int(refusal.metadata["resume_after_revision"]) <= seen[-1]
        assert seen == list(range(2, seen[-1] + 1))
        async with watch(slow, payment_id, after_revision=seen[-1]) as responses:
            await header(responses)
            assert await revisions(responses, upto=41) == list(range(seen[-1] + 1, 42))


async def test_who_is_told_to_resume_has_received_all_up_to_there(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(write_grace_s=0.01)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(slow, payment_id) as responses:
            await header(responses)
            await fill(status, payment_id, expected=1, number=60)
            while len((await anext(responses)).updates.transitions) == 1:
                pass  # each has left by itself; what waits behind them takes several messages
            draining = asyncio.ensure_future(replica.drain())

            seen, refusal = await rest(responses)
            await draining

    assert refusal is not None
    assert refusal.reason == "SHUTTING_DOWN"
    assert int(refusal.metadata["resume_after_revision"]) <= seen[-1] < 61


async def test_a_reader_that_never_reads_does_not_hold_up_the_end(database: ServiceDatabase, issuer: Issuer) -> None:
    async with (
        running_replica(database.runtime_url, issuer=issuer, limits=Limits(stop_grace_s=600)) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(slow, payment_id) as stalled:
            await header(stalled)
            await fill(status, payment_id, expected=1, number=40)

            async with asyncio.timeout(WITHIN_S):
                await replica.drain()


async def may_watch(status: StatusServiceStub, payment_id: str) -> bool:
    async with watch(status, payment_id) as responses:
        try:
            await header(responses)
        except aio.AioRpcError:
            return False
        return True

"""A reader that does not read costs a bounded amount, and nobody else anything."""

from __future__ import annotations

import asyncio

from grpc import aio

from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.limits import Limits
from services.status.watch import FeedLimits
from tests.status.conftest import StatusServiceStub, running_replica
from tests.status.samples import open_request, record_request, snapshot
from tests.status.watching import header, rest, revisions, watch

SMALL_WINDOW = (("grpc.http2.lookahead_bytes", 65_535), ("grpc.http2.bdp_probe", 0))
"""What a client takes before it reads."""
LARGE = "x" * 15_000


async def fill(status: StatusServiceStub, payment_id: str, *, expected: int, number: int) -> None:
    for revision in range(expected, expected + number):
        to = snapshot(attempt=revision, reason=LARGE)
        await status.RecordTransition(record_request(payment_id, expected=revision, to=to))


async def test_a_reader_that_is_too_slow_is_told_to_resume_and_others_hear_all(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    limits = FeedLimits(queue_max=4, write_grace_s=10)
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

            seen, refusal = await rest(stalled)

        assert refusal is not None
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "WATCH_OVERFLOW")
        resume = int(refusal.metadata["resume_after_revision"])
        assert seen == list(range(2, resume + 1))
        assert resume < 41
        async with watch(slow, payment_id, after_revision=resume) as responses:
            await header(responses)
            assert await revisions(responses, upto=41) == list(range(resume + 1, 42))


async def test_a_reader_that_never_reads_loses_its_stream(database: ServiceDatabase, issuer: Issuer) -> None:
    feed_limits = FeedLimits(queue_max=4, write_grace_s=0.05)
    async with (
        running_replica(
            database.runtime_url, issuer=issuer, feed_limits=feed_limits, limits=Limits(streams_per_caller_max=1)
        ) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(slow, payment_id) as stalled:
            await header(stalled)
            await fill(status, payment_id, expected=1, number=40)

            async with asyncio.timeout(10):
                while not await may_watch(slow, payment_id):
                    pass


async def test_a_reader_that_never_reads_holds_up_the_end_no_longer_than_the_grace(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    async with (
        running_replica(database.runtime_url, issuer=issuer, limits=Limits(stop_grace_s=0.5)) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(slow, payment_id) as stalled:
            await header(stalled)
            await fill(status, payment_id, expected=1, number=40)

            async with asyncio.timeout(4):
                await replica.drain()


async def may_watch(status: StatusServiceStub, payment_id: str) -> bool:
    async with watch(status, payment_id) as responses:
        try:
            await header(responses)
        except aio.AioRpcError:
            return False
        return True

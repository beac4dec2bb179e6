"""What the contract says and the service does not do yet, each in the smallest form: a test here that passes fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from grpc import aio

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.database import plain_dsn
from services.status.outbox import FeedLimits
from tests.status.conftest import StatusServiceStub, move, running_replica
from tests.status.history.harness.cluster import SMALL_WINDOW, XIDS_IN_A_MOMENT, Cluster
from tests.status.samples import open_request, snapshot
from tests.status.watching import header, rest, watch

A_WHILE_S = 1.0
TRIES = 10


@pytest.mark.xfail(strict=True, reason="a feed ends as caught up without what commits after a transaction that hangs")
async def test_a_feed_that_is_caught_up_has_sent_all_that_had_committed_when_it_began(
    status: StatusServiceStub, database: ServiceDatabase
) -> None:
    cursor = (await status.ListPayments(pb.ListPaymentsRequest())).cursor
    payment_id = (await status.OpenPayment(open_request())).payment.payment_id
    request = pb.WatchPaymentsRequest(cursor=cursor, close_when=pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP)
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT pg_current_xact_id()")  # it hangs from here on
    await move(status, payment_id, snapshot())

    async def all_that_is_sent() -> set[tuple[str, int]]:
        async with streaming(status.WatchPayments(request, timeout=10)) as messages:
            changes = [change async for message in messages for change in message.changes]
        return {(change.payment.payment_id, change.payment.revision) for change in changes}

    reading = asyncio.create_task(all_that_is_sent())
    await asyncio.wait([reading], timeout=A_WHILE_S)
    await transaction.rollback()
    await connection.close()

    assert (payment_id, 2) in await reading


@pytest.mark.xfail(
    strict=True, reason="of changes that do not fit into one message, only the last message has a cursor"
)
async def test_every_message_of_a_feed_carries_a_cursor(status: StatusServiceStub) -> None:
    cursor = (await status.ListPayments(pb.ListPaymentsRequest())).cursor
    payment_id = (await status.OpenPayment(open_request())).payment.payment_id
    await move(status, payment_id, *(snapshot(reason="x" * 15_000, attempt=attempt) for attempt in range(1, 41)))
    request = pb.WatchPaymentsRequest(cursor=cursor, close_when=pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP)

    async with streaming(status.WatchPayments(request, timeout=10)) as messages:
        cursors = [message.cursor async for message in messages]

    assert all(cursors)


@pytest.mark.xfail(strict=True, reason="what is on its way to a slow reader as the server goes away is not counted in")
async def test_who_is_told_to_resume_has_received_all_up_to_there(database: ServiceDatabase, issuer: Issuer) -> None:
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=FeedLimits(write_grace_s=0.01)) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(slow, payment_id) as responses:
            await header(responses)
            await move(status, payment_id, *(snapshot(reason="x" * 15_000, attempt=number) for number in range(1, 41)))
            draining = asyncio.ensure_future(replica.drain())
            await asyncio.sleep(20 * 0.01)  # it has given up to wait for the reader, and has not cut the connection

            seen, refusal = await rest(responses)
            await draining

    assert refusal is not None
    assert refusal.reason == "SHUTTING_DOWN"
    assert refusal.metadata["resume_after_revision"] == str(seen[-1])


@pytest.mark.xfail(strict=True, reason="a cursor may lie beyond transactions whose numbers come again after a crash")
async def test_a_feed_skips_nothing_when_the_database_has_crashed(cluster: Cluster) -> None:
    async with cluster.roads() as roads:
        status = roads[0].stub
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        for _ in range(TRIES):  # the log may have got to know of the numbers, by something in the background
            async with cluster.admin() as connection:
                for _ in range(5):
                    transaction = connection.transaction()
                    await transaction.start()
                    await connection.execute("SELECT pg_current_xact_id()")
                    await transaction.rollback()
            listed = await until_it_works(lambda: status.ListPayments(pb.ListPaymentsRequest()))
            await cluster.crash_database()
            if len(cluster.reused_xids[-1]) > XIDS_IN_A_MOMENT:
                break
        await until_it_works(lambda: move(status, payment_id, snapshot()))
        await move(status, payment_id, *(snapshot(attempt=number) for number in range(10)), expected=2)

        request = pb.WatchPaymentsRequest(cursor=listed.cursor, close_when=pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP)
        async with streaming(status.WatchPayments(request, timeout=10)) as messages:
            changes = [change async for message in messages for change in message.changes]

    assert (payment_id, 2) in {(change.payment.payment_id, change.payment.revision) for change in changes}


async def until_it_works(call: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(20):
        while True:
            with suppress(aio.AioRpcError):
                return await call()
            await asyncio.sleep(0.05)

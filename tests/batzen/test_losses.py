"""Whatever is lost between a client and status, its watches go on where they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import grpc
import pytest
from grpc import aio

from batzen import errors
from batzen.client import Addresses, Client
from batzen.watching import ConnectionState
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.database.connections import plain_dsn
from services.status.__main__ import LIMITS as SERVER_LIMITS
from services.status.watches.send_queue import StreamLimits
from tests.batzen.conftest import LIMITS, Status, serving
from tests.batzen.tcp_proxy import TcpProxy
from tests.batzen.test_watch import revisions
from tests.eventually import persistently
from tests.status.samples import new_payment_id


@pytest.fixture
async def proxy(status: Status) -> AsyncIterator[TcpProxy]:
    async with TcpProxy.to(status.replica.port) as proxy:
        yield proxy


async def test_a_connection_that_breaks_is_made_again_and_nothing_is_missed(status: Status, proxy: TcpProxy) -> None:
    payment_ids = [await status.open() for _ in range(5)]

    async def follow(batzen: Client, payment_id: str) -> list[int]:
        async with batzen.watch(payment_id, after_revision=0) as updates:
            return await revisions(updates, upto=40)

    async with status.client(address=proxy.address) as batzen:
        following = [asyncio.create_task(follow(batzen, payment_id)) for payment_id in payment_ids]
        for revision in range(2, 41):
            for payment_id in payment_ids:
                await status.move(payment_id, to=revision)
            if revision % 5 == 0 and revision < 40:  # who was told of the last one watches no more
                await batzen.watcher.connection.until(ConnectionState.STREAMING)
                proxy.cut()
        told = await asyncio.gather(*following)

        assert told == [list(range(1, 41))] * 5
        figures = batzen.watcher.figures
        assert figures.connects > 3
        assert figures.resumes > 0


async def test_a_stream_that_reached_its_age_goes_on_as_another(database: ServiceDatabase, issuer: Issuer) -> None:
    async with (
        serving(database, issuer, feed_limits=StreamLimits(stream_age_max_s=0.1)) as status,
        status.client() as batzen,
    ):
        payment_id = await status.open()
        async with batzen.watch(payment_id, after_revision=0) as updates:
            seen = await revisions(updates, upto=1)
            while batzen.watcher.figures.resumes < 3:
                await status.move(payment_id, to=seen[-1] + 1)
                seen += await revisions(updates, upto=seen[-1] + 1)

    assert seen == list(range(1, len(seen) + 1))


async def test_a_server_that_goes_away_is_left_for_the_next(database: ServiceDatabase, issuer: Issuer) -> None:
    async with (
        serving(database, issuer) as staying,
        serving(database, issuer) as leaving,
        TcpProxy.to(leaving.replica.port) as proxy,
        staying.client(address=proxy.address) as batzen,
    ):
        payment_id = await staying.open()
        async with batzen.watch(payment_id) as updates:
            await anext(updates)
            proxy.lead_to(staying.replica.port)
            await leaving.replica.drain()
            await staying.move(payment_id, to=3)

            assert await revisions(updates, upto=3) == [2, 3]


async def test_a_stream_on_which_nothing_is_heard_any_more_is_given_up(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    limits = replace(LIMITS, silence_max_s=0.3)
    async with (
        serving(database, issuer, feed_limits=StreamLimits(heartbeat_s=0.05)) as status,
        TcpProxy.to(status.replica.port) as proxy,
        # Two channels to one address share a connection otherwise, the dead one, too.
        status.client(address=proxy.address, limits=limits) as batzen,
    ):
        payment_id = await status.open()
        async with batzen.watch(payment_id) as updates:
            await anext(updates)
            proxy.fall_silent()
            await status.move(payment_id, to=2)
            await batzen.watcher.connection.until(ConnectionState.CONNECTING)
            proxy.cut()  # what keepalive does in the end

            assert (await anext(updates)).revision == 2
        assert batzen.watcher.figures.silences >= 1


async def test_a_quiet_stream_is_not_given_up(database: ServiceDatabase, issuer: Issuer) -> None:
    async with serving(database, issuer, feed_limits=StreamLimits(heartbeat_s=0.05)) as status:
        for silence_max_s in (0.3, 1.0, 3.0, 10.0):  # a busy machine may hold up what is not silent
            if await attempts_while_quiet(status, silence_max_s=silence_max_s) == 1:
                return
    raise AssertionError("a stream is given up on which there are signs of life alone")


async def attempts_while_quiet(status: Status, *, silence_max_s: float) -> int:
    """Watch a payment that does not move for longer than a stream may be silent; return how many streams that took."""
    async with status.client(limits=replace(LIMITS, silence_max_s=silence_max_s)) as batzen:
        payment_id = await status.open()
        async with batzen.watch(payment_id) as updates:
            await anext(updates)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2 * silence_max_s):
                    await anext(updates)
            await status.move(payment_id, to=2)
            assert (await anext(updates)).revision == 2
        return batzen.watcher.figures.attempts


async def test_without_a_stream_payments_are_polled_until_there_is_one_again(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    one_stream = replace(SERVER_LIMITS, streams_per_caller_max=1)
    async with serving(database, issuer, limits=one_stream) as status, status.client() as batzen:
        payment_ids = [await status.open() for _ in range(3)]
        await status.move(payment_ids[0], to=4)
        in_the_way = batzen.status.WatchMany()
        await in_the_way.initial_metadata()
        async with (
            batzen.watch(payment_ids[0], after_revision=1) as first,
            batzen.watch(payment_ids[1]) as second,
            batzen.watch(payment_ids[2], until_settled=True) as third,
            batzen.watch(new_payment_id()) as nothing,
            batzen.watch(payment_ids[0], after_revision=9) as ahead,
        ):
            assert await revisions(first, upto=4) == [2, 3, 4]
            assert (await anext(second)).revision == 1
            assert (await anext(third)).revision == 1
            assert batzen.watcher.connection.state is ConnectionState.POLLING
            with pytest.raises(errors.NotFound):
                await anext(nothing)
            with pytest.raises(errors.OutOfRange):
                await anext(ahead)
            for payment_id in payment_ids:
                await status.move(payment_id, to=6)
            assert await revisions(first, upto=6) == [5, 6]
            assert await revisions(second, upto=6) == [2, 3, 4, 5, 6]
            in_the_way.cancel()
            await batzen.watcher.connection.until(ConnectionState.STREAMING)
            polls = batzen.watcher.figures.polls
            await status.move(payment_ids[1], to=8)
            assert await revisions(second, upto=8) == [7, 8]
            assert await revisions(third, upto=6) == [2, 3, 4, 5, 6]

        assert batzen.watcher.figures.polls == polls > 0
        assert batzen.watcher.connection.stability_percent < 100


async def test_a_payment_that_cannot_be_read_keeps_no_other_from_being_polled(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    one_stream = replace(SERVER_LIMITS, streams_per_caller_max=1)
    async with serving(database, issuer, limits=one_stream) as status, status.client() as batzen:
        spoiled, payment_id = [await status.open() for _ in range(2)]
        owner = await asyncpg.connect(plain_dsn(database.owner_url))
        await owner.execute("UPDATE payments SET snapshot = '{}' WHERE payment_id = $1", spoiled)
        await owner.close()
        in_the_way = batzen.status.WatchMany()
        await in_the_way.initial_metadata()
        async with batzen.watch(spoiled), batzen.watch(payment_id) as updates:
            assert (await anext(updates)).revision == 1
            assert batzen.watcher.connection.state is ConnectionState.POLLING
        in_the_way.cancel()


async def test_who_cannot_be_reached_for_long_is_given_up(status: Status, proxy: TcpProxy) -> None:
    payment_id = await status.open()
    async with status.client(address=proxy.address, limits=replace(LIMITS, patience_s=1.0)) as batzen:

        async def first() -> None:
            async with batzen.watch(payment_id) as updates:
                assert (await anext(updates)).revision == 1

        async def lost() -> None:
            async with batzen.watch(payment_id) as updates:
                await anext(updates)
                proxy.close()
                with pytest.raises(errors.Unavailable):
                    await anext(updates)

        # A busy machine, too, may reach nobody for as long.
        await persistently(lost, again=errors.Unavailable)
        proxy.lead_to(status.replica.port)
        await persistently(first, again=errors.Unavailable)


async def test_a_slow_reader_waits_for_the_history_to_be_readable_again(status: Status, proxy: TcpProxy) -> None:
    payment_id = await status.open()
    async with (
        status.client(address=proxy.address, limits=replace(LIMITS, queue_max=2)) as batzen,
        batzen.watch(payment_id, after_revision=0) as slow,
        batzen.watch(payment_id) as fast,
    ):
        assert (await anext(slow)).revision == 1
        await status.move(payment_id, to=20)
        await revisions(fast, upto=20)
        proxy.close()
        reading = asyncio.create_task(revisions(slow, upto=20))
        await batzen.watcher.connection.until(ConnectionState.CONNECTING, ConnectionState.POLLING)
        proxy.lead_to(status.replica.port)

        assert await reading == list(range(2, 21))


async def test_how_the_connection_stands_can_be_followed(status: Status, proxy: TcpProxy) -> None:
    payment_id = await status.open()
    async with status.client(address=proxy.address) as batzen:
        states = batzen.watcher.connection.__aiter__()
        assert await anext(states) is ConnectionState.IDLE
        async with batzen.watch(payment_id) as updates:
            assert await anext(states) is ConnectionState.CONNECTING
            await anext(updates)
            assert await anext(states) is ConnectionState.STREAMING
            proxy.cut()
            assert await anext(states) is ConnectionState.CONNECTING
            assert await anext(states) is ConnectionState.STREAMING
        assert await anext(states) is ConnectionState.IDLE
    assert [state async for state in states] == [ConnectionState.CLOSED]


async def test_a_stream_on_which_nothing_is_watched_is_closed_and_opened_again_when_needed(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    async with (
        serving(
            database,
            issuer,
            feed_limits=StreamLimits(heartbeat_s=0.02),
            limits=replace(SERVER_LIMITS, streams_per_caller_max=1),
        ) as status,
        status.client(limits=replace(LIMITS, idle_max_s=0.1)) as batzen,
    ):
        payment_id = await status.open()
        async with batzen.watch(payment_id) as updates:
            await anext(updates)

        async def opened() -> Any:
            stream: Any = batzen.status.WatchMany()
            await anext(stream.__aiter__())
            return stream

        (await persistently(opened, again=errors.ResourceExhausted)).cancel()
        async with batzen.watch(payment_id) as updates:
            assert (await anext(updates)).revision == 1
            await batzen.watcher.connection.until(ConnectionState.STREAMING)  # it may be polled before

        assert batzen.watcher.figures.connects == 2


async def test_the_own_token_is_asked_for_with_each_stream(status: Status, proxy: TcpProxy) -> None:
    payment_id = await status.open()
    tokens = ["of yesterday"]
    good = status.token("bff", "service")
    async with (
        status.client(address=proxy.address, token=lambda: tokens.pop() if tokens else good) as batzen,
        batzen.watch(payment_id) as updates,
    ):
        assert (await anext(updates)).revision == 1


async def test_a_token_that_stays_bad_ends_the_watches(status: Status) -> None:
    async with status.client(token="bad") as batzen, batzen.watch(await status.open()) as updates:
        with pytest.raises(errors.Unauthenticated):
            await anext(updates)


async def test_a_source_of_tokens_that_fails_ends_the_watches_that_need_it_and_no_more(status: Status) -> None:
    good = status.token("bff", "service")
    is_broken = True

    def token() -> str:
        if is_broken:
            raise LookupError("no token today")
        return good

    payment_id = await status.open()
    async with status.client(token=token) as batzen:
        async with batzen.watch(payment_id) as updates:
            with pytest.raises(LookupError, match="today"):
                await anext(updates)
        is_broken = False
        async with batzen.watch(payment_id) as updates:
            assert (await anext(updates)).revision == 1


async def test_a_try_that_fails_is_one_call_and_the_watcher_knows_of_it() -> None:
    """What gRPC repeats for calls it leaves alone for the stream: one layer tries again."""
    calls = 0

    async def unavailable(_: Any, context: aio.ServicerContext[Any, Any]) -> None:
        nonlocal calls
        calls += 1
        await context.abort(grpc.StatusCode.UNAVAILABLE)

    server = aio.server()
    handler = grpc.method_handlers_generic_handler(
        "batzen.status.v1.StatusService", {"WatchMany": grpc.stream_stream_rpc_method_handler(unavailable)}
    )
    server.add_generic_rpc_handlers((handler,))
    addresses = Addresses(status=f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    await server.start()
    try:
        for patience_s in (0.3, 1.0, 3.0, 10.0):  # a busy machine may need as long for one try
            calls = 0
            limits = replace(LIMITS, patience_s=patience_s, poll_after_failures=1_000)
            async with Client(token="any", addresses=addresses, watch_limits=limits) as batzen:
                async with batzen.watch("pay_1", after_revision=0) as updates:
                    with pytest.raises(errors.Unavailable):
                        await anext(updates)
                assert batzen.watcher.figures.attempts == calls
            if calls > 1:
                return
        raise AssertionError("it is not tried again")
    finally:
        await server.stop(None)

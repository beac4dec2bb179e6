"""Every channel option by its effect, since gRPC ignores in silence what it does not know."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio

from batzen._channel import CONNECTIONS_MAX, make_channel, streaming
from local.issuer import Issuer
from services.runtime.rpc.limits import Limits
from tests.eventually import WITHIN_S, persistently
from tests.runtime.echo import SERVICE, bearer, echo, refusal, serving, unary, watch
from tests.runtime.wire import GOAWAY, PING, Http2, Proxy

HELLO = StringValue(value="hello")
NO_POLICY = (("grpc.service_config", "{}"),)
"""A client without retries, and with one connection."""


async def for_ever(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
    yield request
    await asyncio.Event().wait()


async def test_one_connection_has_only_so_many_calls_at_once(issuer: Issuer) -> None:
    started: list[str] = []

    async def hold(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        started.append(request.value)
        yield request
        await asyncio.Event().wait()

    methods = {"Watch": watch(hold), "Echo": unary(echo)}
    limits = Limits(streams_per_connection_max=2)
    async with serving(issuer, methods, limits=limits, options=NO_POLICY) as service:
        first, second = (service.watch()(StringValue(value=name)) for name in ("first", "second"))
        await asyncio.gather(first.read(), second.read())
        third = service.watch()(StringValue(value="third"))
        async with make_channel(
            service.address,
            timeout_s=WITHIN_S,
            metadata=lambda: bearer(issuer.mint("payer_2", roles={"payer"})),
            options=(("grpc.use_local_subchannel_pool", 1),),
        ) as other:
            call = other.unary_unary(f"/{SERVICE}/Echo", StringValue.SerializeToString, StringValue.FromString)
            assert await call(HELLO) == HELLO
        assert sorted(started) == ["first", "second"]

        first.cancel()
        assert (await third.read()).value == "third"
        second.cancel()
        third.cancel()


async def test_calls_that_one_connection_does_not_take_go_over_the_next(issuer: Issuer) -> None:
    peers: Counter[str] = Counter()

    async def hold(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        peers[context.peer()] += 1
        yield request
        await asyncio.Event().wait()

    limits = Limits(streams_per_connection_max=2)
    async with serving(issuer, {"Watch": watch(hold), "Echo": unary(echo)}, limits=limits) as service:
        calls = [service.watch()(HELLO) for _ in range(CONNECTIONS_MAX * 2)]
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(call.read() for call in calls))
        assert list(peers.values()) == [2] * CONNECTIONS_MAX

        one_more = asyncio.ensure_future(service.unary()(HELLO))
        calls[-1].cancel()
        assert await one_more == HELLO
        for call in calls:
            call.cancel()


async def test_a_burst_is_queued_and_not_shed(issuer: Issuer) -> None:
    async def outcome(call: Any) -> str:
        try:
            await call
        except aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async def burst(limits: Limits, *, options: Any = ()) -> Counter[str]:
        async with serving(issuer, {"Echo": unary(echo)}, limits=limits, options=options) as service:
            call = service.unary()
            return Counter(await asyncio.gather(*[outcome(call(HELLO, timeout=WITHIN_S)) for _ in range(1_500)]))

    shedding = await burst(Limits(pending_calls_max=20, streams_per_connection_max=2_000), options=NO_POLICY)
    queueing = await burst(Limits(streams_per_connection_max=2_000), options=NO_POLICY)

    assert shedding["CANCELLED"] > 0
    assert queueing == {"OK": 1_500}


async def test_a_message_that_is_too_large_is_refused(issuer: Issuer) -> None:
    async with serving(issuer, {"Echo": unary(echo)}) as service:
        fits = StringValue(value="x" * 250_000)
        assert await service.unary()(fits) == fits
        error = await refusal(service.unary()(StringValue(value="x" * 300_000)))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_that_is_too_large_is_refused(issuer: Issuer) -> None:
    async with serving(issuer, {"Echo": unary(echo)}) as service:
        assert await service.unary()(HELLO, metadata=(("x-much", "x" * 8_000),)) == HELLO
        error = await refusal(service.unary()(HELLO, metadata=(("x-much", "x" * 17_000),)))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_connection_that_says_nothing_is_closed(issuer: Issuer) -> None:
    async with serving(issuer, {"Echo": unary(echo)}, limits=Limits(handshake_timeout_s=0.1)) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.server.port)
        async with asyncio.timeout(WITHIN_S):
            while await reader.read(1_024):  # the server's own settings
                pass
        writer.close()


async def test_pings_are_answered_at_any_pace_even_without_calls(issuer: Issuer) -> None:
    async with serving(issuer, {"Echo": unary(echo)}) as service, Http2.to(service.server.port) as wire:
        for number in range(3_000):
            wire.send(PING, payload=number.to_bytes(8, "big"))
        async with asyncio.timeout(WITHIN_S):
            answers = [await wire.next_of(PING, GOAWAY) for _ in range(3_000)]

    assert [(kind, int.from_bytes(payload, "big")) for kind, payload in answers] == [(PING, n) for n in range(3_000)]


def test_no_call_outlives_its_aged_connection() -> None:
    limits = Limits()

    assert limits.connection_age_grace_s >= limits.deadline_max_s


async def test_a_server_that_vanished_is_noticed_by_its_watcher(issuer: Issuer) -> None:
    quick = {"grpc.keepalive_time_ms": 100, "grpc.keepalive_timeout_ms": 100, "grpc.http2.ping_timeout_ms": 100}
    async with (
        serving(issuer, {"Watch": watch(for_ever)}) as service,
        Proxy.before(service.server.port) as proxy,
        make_channel(
            f"127.0.0.1:{proxy.port}",
            timeout_s=WITHIN_S,
            metadata=lambda: bearer(issuer.mint("payer_1", roles={"payer"})),
            options=tuple(quick.items()),
        ) as channel,
    ):
        call = await begun(channel)
        proxy.fall_silent()
        with pytest.raises(aio.AioRpcError) as caught:
            await asyncio.wait_for(call.read(), WITHIN_S)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_watcher_that_vanished_is_noticed_by_the_server(issuer: Issuer) -> None:
    ended = asyncio.Event()

    async def hold(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        yield request
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    limits = Limits(ping_interval_s=0.1, ping_timeout_s=0.1)
    async with (
        serving(issuer, {"Watch": watch(hold)}, limits=limits) as service,
        Proxy.before(service.server.port) as proxy,
        make_channel(
            f"127.0.0.1:{proxy.port}",
            timeout_s=WITHIN_S,
            metadata=lambda: bearer(issuer.mint("payer_1", roles={"payer"})),
        ) as channel,
    ):
        call = await begun(channel)
        proxy.fall_silent()
        await asyncio.wait_for(ended.wait(), WITHIN_S)
        call.cancel()


async def begun(channel: aio.Channel) -> Any:
    """Return a watch that was answered, however often a busy machine lets its pings wait for longer than they may."""

    async def try_once() -> Any:
        call = channel.unary_stream(f"/{SERVICE}/Watch", StringValue.SerializeToString, StringValue.FromString)(HELLO)
        await call.read()
        return call

    return await persistently(try_once, again=aio.AioRpcError)


async def test_an_old_connection_ends_its_streams_and_no_unary_call(issuer: Issuer) -> None:
    limits = Limits(connection_age_max_s=0.1, connection_age_grace_s=1.0)  # no unary call takes as long
    async with serving(issuer, {"Watch": watch(for_ever), "Echo": unary(echo)}, limits=limits) as service:
        stream = service.watch()(HELLO)
        ended = asyncio.create_task(refusal(stream))
        while not ended.done():
            assert await service.unary()(HELLO) == HELLO
        error = await asyncio.wait_for(ended, WITHIN_S)

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "max connection age" in str(error.details())


async def test_a_port_in_use_is_refused(issuer: Issuer) -> None:
    async with serving(issuer, {"Echo": unary(echo)}) as service:
        with pytest.raises(RuntimeError):
            async with serving(issuer, {"Echo": unary(echo)}, address=service.address):
                pass


async def test_leaving_a_stream_cancels_it(issuer: Issuer) -> None:
    ended = asyncio.Event()

    async def hold(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        try:
            yield request
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(issuer, {"Watch": watch(hold)}) as service:
        async with streaming(service.watch()(HELLO)) as responses:
            async for _ in responses:
                break
        await asyncio.wait_for(ended.wait(), WITHIN_S)

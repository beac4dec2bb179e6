"""A service for the tests of the runtime, put together method by method, and the calls to reach it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio

from batzen._channel import make_channel, streaming
from local.issuer import AUDIENCE, ISSUER, Issuer
from services.runtime.rpc.access import Allow
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.limits import Limits
from services.runtime.rpc.server import RunningServer, running_server
from tests.eventually import WITHIN_S

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
SERVICE = "batzen.test.v1.EchoService"
ANYBODY = Allow(roles=frozenset({"payer", "seller", "operator", "service"}))

_WIRE = {"request_deserializer": StringValue.FromString, "response_serializer": StringValue.SerializeToString}


def unary(behavior: Callable[..., Any]) -> Any:
    return grpc.unary_unary_rpc_method_handler(behavior, **_WIRE)


def watch(behavior: Callable[..., Any]) -> Any:
    return grpc.unary_stream_rpc_method_handler(behavior, **_WIRE)


def collect(behavior: Callable[..., Any]) -> Any:
    return grpc.stream_unary_rpc_method_handler(behavior, **_WIRE)


def talk(behavior: Callable[..., Any]) -> Any:
    return grpc.stream_stream_rpc_method_handler(behavior, **_WIRE)


def register(methods: Mapping[str, Any], server: aio.Server) -> None:
    """Add the service to a server the way generated code does."""
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, dict(methods)),))
    server.add_registered_method_handlers(SERVICE, dict(methods))


async def echo(request: StringValue, _context: object) -> StringValue:
    return request


@dataclass(frozen=True, kw_only=True)
class Echo:
    """A running service, and its callers."""

    server: RunningServer
    channel: aio.Channel
    draining: asyncio.Event
    issuer: Issuer

    def unary(self, name: str = "Echo") -> Any:
        return self.channel.unary_unary(f"/{SERVICE}/{name}", StringValue.SerializeToString, StringValue.FromString)

    def watch(self, name: str = "Watch") -> Any:
        return self.channel.unary_stream(f"/{SERVICE}/{name}", StringValue.SerializeToString, StringValue.FromString)

    def collect(self, name: str = "Collect") -> Any:
        return self.channel.stream_unary(f"/{SERVICE}/{name}", StringValue.SerializeToString, StringValue.FromString)

    def talk(self, name: str = "Talk") -> Any:
        return self.channel.stream_stream(f"/{SERVICE}/{name}", StringValue.SerializeToString, StringValue.FromString)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@asynccontextmanager
async def serving(
    issuer: Issuer,
    methods: Mapping[str, Any],
    *,
    access: Mapping[str, Allow] | None = None,
    token: str | None = None,
    limits: Limits | None = None,
    now: Callable[[], datetime] = lambda: NOW,
    options: tuple[tuple[str, int | str], ...] = (),
    address: str = "127.0.0.1:0",
    **settings: Any,
) -> AsyncIterator[Echo]:
    """Serve `methods`, and open a channel to them as payer_1, or with `token`; an empty one means none."""
    token = issuer.mint("payer_1", roles={"payer"}) if token is None else token
    draining = asyncio.Event()
    table = {f"/{SERVICE}/{name}": (access or {}).get(name, ANYBODY) for name in methods}
    verifier = TokenVerifier(KeySet(str(issuer.jwks)), issuer=ISSUER, audience=AUDIENCE, now=now)
    async with (
        running_server(
            partial(register, methods),
            address=address,
            access=table,
            verifier=verifier,
            draining=draining,
            now=now,
            limits=limits,
            **settings,
        ) as server,
        make_channel(
            f"127.0.0.1:{server.port}",
            timeout_s=WITHIN_S,
            metadata=lambda: bearer(token) if token else (),
            options=(("grpc.use_local_subchannel_pool", 1), *options),
        ) as channel,
    ):
        yield Echo(server=server, channel=channel, draining=draining, issuer=issuer)


async def refusal(call: Any) -> aio.AioRpcError:
    """Return the error that ends a unary call or a stream."""
    try:
        if hasattr(call, "__await__"):
            await call
        else:
            async with streaming(call) as responses:
                async for _ in responses:
                    pass
    except aio.AioRpcError as error:
        return error
    raise AssertionError("the call was not refused")

"""The suite from Python: the stubs of its services on channels that work, errors as classes, a watch that goes on.

    async with Client.from_environ() as batzen:
        started = await batzen.orchestrator.StartPayment(StartPaymentRequest(request_id=new_request_id(), …))
        async with batzen.watch(started.session.payment.payment_id) as updates:
            async for update in updates:
                print(update.revision, PaymentState.Name(update.state))

One client per process is enough: it is safe to share among tasks, and calls share its connections.
"""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import grpc

from batzen._channel import Metadata, make_channel, streaming
from batzen._translation import TranslatingChannel
from batzen.errors import BatzenError, Cancelled, Unauthenticated, Unavailable
from batzen.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.status.v1.status_pb2 import Payment, Transition, WatchPaymentRequest
from batzen.status.v1.status_pb2_grpc import StatusServiceStub

TIMEOUT_S: Final = 35.0
"""Of a call that names none: a payment takes up to 30 s at Stripe, and its answer has to come back."""
RECONNECT_MIN_S: Final = 0.1
RECONNECT_MAX_S: Final = 5.0
WATCH_PATIENCE_S: Final = 300.0
"""How long a watch tries to get its stream back before it gives up."""

Token = str | Callable[[], str]
"""A bearer token, or what is asked for one at each call and must not block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the services are, each a gRPC target such as `127.0.0.1:7001` or `dns:///orchestrator:7001`."""

    orchestrator: str = "127.0.0.1:7001"
    pricing: str = "127.0.0.1:7002"
    status: str = "127.0.0.1:7003"
    gateway: str = "127.0.0.1:7004"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read BATZEN_ORCHESTRATOR_ADDRESS and its like; those of a laptop where there are none."""
        named = {name: environ.get(f"BATZEN_{name.upper()}_ADDRESS") for name in cls.__dataclass_fields__}
        return cls(**{name: address for name, address in named.items() if address})


class Client:
    """The four services, for one caller. Use it with `async with`, or `close` it."""

    orchestrator: OrchestratorServiceStub
    pricing: PricingServiceStub
    status: StatusServiceStub
    gateway: GatewayServiceStub

    def __init__(
        self,
        *,
        token: Token,
        addresses: Addresses | None = None,
        timeout_s: float = TIMEOUT_S,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """`timeout_s` is the deadline of every call that names none; plaintext without `credentials`."""
        self._token = token if callable(token) else lambda: token
        addresses = addresses or Addresses()

        def channel(address: str) -> TranslatingChannel:
            return TranslatingChannel(
                make_channel(address, timeout_s=timeout_s, metadata=self._metadata, credentials=credentials)
            )

        channels = [
            channel(address)
            for address in (addresses.orchestrator, addresses.pricing, addresses.status, addresses.gateway)
        ]
        self._channels = channels
        self.orchestrator = OrchestratorServiceStub(channels[0])
        self.pricing = PricingServiceStub(channels[1])
        self.status = StatusServiceStub(channels[2])
        self.gateway = GatewayServiceStub(channels[3])

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read BATZEN_TOKEN and the addresses BATZEN_<SERVICE>_ADDRESS. Raises ValueError without a token."""
        token = environ.get("BATZEN_TOKEN")
        if not token:
            raise ValueError("BATZEN_TOKEN is not set; `make up` says where to find a token.")
        return cls(token=token, addresses=Addresses.from_environ(environ))

    async def close(self) -> None:
        """Close the connections; calls that still run end as `Cancelled`."""
        async with AsyncExitStack() as stack:
            for channel in self._channels:
                stack.push_async_callback(channel.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def watch(
        self, payment_id: str, *, after_revision: int | None = None, until_settled: bool = False
    ) -> AsyncIterator[AsyncIterator[Transition]]:
        """Follow a payment inside: each revision once and in order, over lost connections and restarted servers.

        Without `after_revision` the first one is the payment as it stands now, in the form of a transition without a
        `request_id`; with N, the next is N + 1. It never ends by itself unless `until_settled`. Raises `NotFound` and
        the other refusals of `WatchPayment`, and `Unavailable` after `WATCH_PATIENCE_S` without a stream.
        """
        async with aclosing(self._updates(payment_id, after_revision, until_settled)) as updates:
            yield updates

    async def _updates(
        self, payment_id: str, after_revision: int | None, until_settled: bool
    ) -> AsyncGenerator[Transition]:
        loop = asyncio.get_running_loop()
        lost_at: float | None = None
        failures = 0
        while True:
            token = self._token()
            try:
                async with aclosing(self._one_stream(payment_id, after_revision, until_settled)) as stream:
                    async for update in stream:
                        lost_at, failures = None, 0
                        if update is not None:
                            after_revision = update.revision
                            yield update
                return  # only a settled payment ends a stream in order
            except BatzenError as error:
                lost_at = loop.time() if lost_at is None else lost_at
                is_renewed = isinstance(error, Unauthenticated) and self._token() != token
                is_lost = isinstance(error, Unavailable | Cancelled)
                if not (is_renewed or is_lost) or loop.time() - lost_at > WATCH_PATIENCE_S:
                    raise
            await asyncio.sleep(_pause_s(failures))
            failures += 1

    async def _one_stream(
        self, payment_id: str, after_revision: int | None, until_settled: bool
    ) -> AsyncGenerator[Transition | None]:
        """Follow one stream to its end; None is a sign of life."""
        close_when = (
            WatchPaymentRequest.CLOSE_WHEN_SETTLED if until_settled else WatchPaymentRequest.CLOSE_WHEN_UNSPECIFIED
        )
        request = WatchPaymentRequest(payment_id=payment_id, after_revision=after_revision, close_when=close_when)
        async with streaming(self.status.WatchPayment(request)) as messages:
            async for message in messages:
                match message.WhichOneof("event"):
                    case "header" if message.header.HasField("payment"):
                        yield _as_transition(message.header.payment)
                    case "updates":
                        for transition in message.updates.transitions:
                            yield transition
                    case _:
                        yield None

    def _metadata(self) -> Metadata:
        return (("authorization", f"Bearer {self._token()}"),)


def new_request_id() -> str:
    """Return a new `request_id`. Keep it with what you ask for: the same id makes a repeat harmless."""
    return str(uuid.uuid4())


def _as_transition(payment: Payment) -> Transition:
    return Transition(
        payment_id=payment.payment_id,
        revision=payment.revision,
        state=payment.state,
        settled=payment.settled,
        phase=payment.phase,
        snapshot=payment.snapshot,
        record_time=payment.update_time,
    )


def _pause_s(failures: int) -> float:
    """Return how long to wait before the next try: doubling, and spread so that clients do not come back together."""
    return random.uniform(0.5, 1.0) * min(RECONNECT_MAX_S, RECONNECT_MIN_S * 2.0 ** min(failures, 10))  # noqa: S311

"""The suite from Python: the stubs of its services on channels that work, errors as classes, a watch that goes on.

    async with Client.from_environ() as batzen:
        started = await batzen.orchestrator.StartPayment(StartPaymentRequest(request_id=new_request_id(), …))
        async with batzen.watch(started.session.payment.payment_id) as updates:
            async for update in updates:
                print(update.revision, PaymentState.Name(update.state))

One client per process is enough: it is safe to share among tasks, and calls share its connections.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

import grpc
from grpc import aio

from batzen import _request_ids
from batzen._channel import Metadata, make_channel
from batzen._tracing import callers_span
from batzen._translation import TranslatingChannel
from batzen.watching import Expected, Reader, Update, Watcher, WatchLimits, WatchOptions
from batzen.watching.assertions import Token

if TYPE_CHECKING:
    from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceStub
    from batzen.gateway.v1.disputes_pb2_grpc import DisputeServiceStub
    from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
    from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
    from batzen.gateway.v1.payment_methods_pb2_grpc import PaymentMethodServiceStub
    from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceStub
    from batzen.gateway.v1.sellers_pb2_grpc import SellerServiceStub
    from batzen.gateway.v1.transfers_pb2_grpc import TransferServiceStub
    from batzen.orchestrator.v1.notifications_pb2_grpc import NotificationServiceStub
    from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
    from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
    from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
    from batzen.status.v1.status_pb2_grpc import StatusServiceStub
    from batzen.type.v1.payment_pb2 import PaymentState

TIMEOUT_S: Final = 35.0
"""Of a call that names none: a payment takes up to 30 s at Stripe, and its answer has to come back."""


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


_STUBS: Final[Mapping[str, tuple[str, str, str]]] = {
    "orchestrator": ("orchestrator", "batzen.orchestrator.v1.orchestrator_pb2_grpc", "OrchestratorServiceStub"),
    "pricing": ("pricing", "batzen.pricing.v1.pricing_pb2_grpc", "PricingServiceStub"),
    "status": ("status", "batzen.status.v1.status_pb2_grpc", "StatusServiceStub"),
    "intents": ("gateway", "batzen.gateway.v1.intents_pb2_grpc", "IntentServiceStub"),
    "checkout": ("gateway", "batzen.gateway.v1.checkout_pb2_grpc", "CheckoutServiceStub"),
    "refunds": ("gateway", "batzen.gateway.v1.refunds_pb2_grpc", "RefundServiceStub"),
    "payment_methods": ("gateway", "batzen.gateway.v1.payment_methods_pb2_grpc", "PaymentMethodServiceStub"),
    "sellers": ("gateway", "batzen.gateway.v1.sellers_pb2_grpc", "SellerServiceStub"),
    "transfers": ("gateway", "batzen.gateway.v1.transfers_pb2_grpc", "TransferServiceStub"),
    "disputes": ("gateway", "batzen.gateway.v1.disputes_pb2_grpc", "DisputeServiceStub"),
    "gateway_ops": ("gateway", "batzen.gateway.v1.ops_pb2_grpc", "GatewayOpsServiceStub"),
    "orchestrator_ops": ("orchestrator", "batzen.orchestrator.v1.ops_pb2_grpc", "OrchestratorOpsServiceStub"),
    "notifications": ("orchestrator", "batzen.orchestrator.v1.notifications_pb2_grpc", "NotificationServiceStub"),
}
"""Of each stub: the service that it calls, its module, its class. It is imported when it is first asked for: a program
that calls one service starts without the messages of the others.
"""

OpenChannel = Callable[[Callable[..., aio.Channel]], aio.Channel]
"""Returns a channel by what makes one of `credentials`."""


class Client:
    """The services of the suite, for one caller. Use it with `async with`, or `close` it."""

    orchestrator: OrchestratorServiceStub
    pricing: PricingServiceStub
    status: StatusServiceStub
    intents: IntentServiceStub
    checkout: CheckoutServiceStub
    refunds: RefundServiceStub
    payment_methods: PaymentMethodServiceStub
    sellers: SellerServiceStub
    transfers: TransferServiceStub
    disputes: DisputeServiceStub
    gateway_ops: GatewayOpsServiceStub
    orchestrator_ops: OrchestratorOpsServiceStub
    notifications: NotificationServiceStub

    def __init__(
        self,
        *,
        token: Token,
        addresses: Addresses | None = None,
        timeout_s: float = TIMEOUT_S,
        credentials: grpc.ChannelCredentials | None = None,
        open_channel: OpenChannel | None = None,
        watch_limits: WatchLimits | None = None,
    ) -> None:
        """`timeout_s` is the deadline of every call that names none; plaintext without `credentials`.

        `open_channel` is for a process whose credentials are replaced while it runs: it is given what makes a channel
        of credentials, and returns the channel that is used.

        `token` is the client's own. All watches share one stream, and so one token: whoever watches for several people
        is a service, and says with each watch for whom it is.
        """
        self._token = token if callable(token) else lambda: token
        addresses = addresses or Addresses()

        def channel(address: str) -> TranslatingChannel:
            make = partial(make_channel, address, timeout_s=timeout_s, metadata=self._metadata, observe=callers_span)
            return TranslatingChannel(make(credentials=credentials) if open_channel is None else open_channel(make))

        self._channels = {service: channel(address) for service, address in asdict(addresses).items()}
        self.watcher = Watcher(self.status, token=self._token, limits=watch_limits)
        """What all watches share: its connection, its figures, and what it has seen."""

    def __getattr__(self, name: str) -> Any:
        """Return a stub that was not asked for before; from then on it is an attribute like any other."""
        if name not in _STUBS:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        service, module, stub = _STUBS[name]
        made = getattr(import_module(module), stub)(self._channels[service])
        setattr(self, name, made)
        return made

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read BATZEN_TOKEN and the addresses BATZEN_<SERVICE>_ADDRESS. Raises ValueError without a token."""
        return cls(token=token_in(environ), addresses=Addresses.from_environ(environ))

    async def close(self) -> None:
        """Close the connections; calls and watches that still run end as `Cancelled`."""
        async with AsyncExitStack() as stack:
            for channel in self._channels.values():
                stack.push_async_callback(channel.close)
            await self.watcher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def watch(
        self,
        payment_id: str,
        *,
        after_revision: int | None = None,
        until_settled: bool = False,
        latest_only: bool = False,
        assertion: Token | None = None,
    ) -> AbstractAsyncContextManager[Reader]:
        """Follow a payment inside: each revision once and in order, over lost connections and restarted servers.

        Without `after_revision` the first one is the payment as it stands now, in the form of a transition without a
        `request_id`; with N, the next is N + 1. It never ends by itself unless `until_settled`. With `latest_only` a
        reader who is slow is told the newest alone. All watches of the client share one stream; a reader may take its
        time, and holds up nobody.

        `assertion` is the token of the end user for whom this is, or what returns the current one: the watch reaches
        no further than they do, and ends as `Unauthenticated` when the token expires and there is no newer one.

        Raises `NotFound` and the other refusals of `WatchPayment`, `Unavailable` after minutes in which the server
        could not be reached in any way, and ValueError for an assertion that is no token.
        """
        return self.watcher.watch(
            payment_id,
            after_revision=after_revision,
            until_settled=until_settled,
            latest_only=latest_only,
            assertion=assertion,
        )

    def watch_optimistic(
        self, payment_id: str, **options: Unpack[WatchOptions]
    ) -> AbstractAsyncContextManager[AsyncIterator[Update]]:
        """Follow a payment as `watch` does, for showing it: with what `expect` says until the truth is known.

        Each update says what it is: TRUTH, PROVISIONAL or ROLLBACK.
        """
        return self.watcher.watch_optimistic(payment_id, **options)

    def expect(
        self, payment_id: str, state: PaymentState, *, through: Collection[PaymentState] = (), timeout_s: float
    ) -> Expected:
        """Announce what a payment is about to become to its optimistic watchers in this process.

        They are shown `state` as PROVISIONAL at once. The next revision ends that: it is the state, or a ROLLBACK; one
        in `through` is on the way and changes nothing. After `timeout_s`, or when the answer is withdrawn, the truth is
        shown again as a ROLLBACK. With `with`, it is withdrawn if what is done inside fails:

            with batzen.expect(payment_id, PaymentState.PAYMENT_STATE_PROCESSING, timeout_s=10):
                await batzen.orchestrator.SubmitPayment(…)
        """
        return self.watcher.expect(payment_id, state, through=through, timeout_s=timeout_s)

    def _metadata(self) -> Metadata:
        return (("authorization", f"Bearer {self._token()}"),)


def token_in(environ: Mapping[str, str]) -> str:
    """Return BATZEN_TOKEN. Raises ValueError if it is not set."""
    token = environ.get("BATZEN_TOKEN")
    if not token:
        raise ValueError("BATZEN_TOKEN is not set; `make up` says where to find a token.")
    return token


new_request_id = _request_ids.new_request_id
"""Return a new `request_id`; keep it with what you ask for."""

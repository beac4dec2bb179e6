"""The one way to open a channel to the suite: keepalive that works, retries, a deadline on every call, credentials.

Every method of the suite is safe to repeat: it reads, or it carries a `request_id`. So one policy retries all of them,
in gRPC itself and nowhere else, on UNAVAILABLE and on CANCELLED, which is what a server answers that could not pick a
call up (a call that its own caller cancels is not retried).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar, cast

import grpc
from grpc import aio

KEEPALIVE_S: Final = 20.0
"""Between two pings while a call is open. gRPC itself sends none more often than every 10 s."""
KEEPALIVE_TIMEOUT_S: Final = 5.0
"""A peer that vanished without a word is found after KEEPALIVE_S + this."""
CONNECTIONS_MAX: Final = 10
"""To one server, gRPC's own limit. The next is opened when all calls are taken that the server allows on the others."""
CONNECT_TIMEOUT_S: Final = 2.0
"""Of one try to connect; a server with much to do answers late, and to begin anew is more work for it."""
RECONNECT_MIN_S: Final = 0.1
RECONNECT_MAX_S: Final = 0.4
"""Between two tries to connect to a server that is away. Less than the waits of a call's retries take together, so that
no call fails which begins when the server is back, however long it was away."""
RESOLVE_EVERY_S: Final = 1.0
"""At least this long between two look-ups of a name, which the end of a connection asks for. gRPC's own 30 s keep a
new replica from being found by whoever loses the old ones meanwhile. No answer is kept for longer, whatever its TTL
says."""
ATTEMPTS_MAX: Final = 4
RETRY_WAIT_S: Final = 0.05
"""Before the second attempt. Each further one waits RETRY_WAIT_GROWTH times as long, up to RETRY_WAIT_MAX_S."""
RETRY_WAIT_GROWTH: Final = 4
RETRY_WAIT_MAX_S: Final = 0.5
JITTER: Final = 0.2
"""By which gRPC lengthens or shortens these waits, and those between two tries to connect."""
HOP_MARGIN_S: Final = 0.05
"""What a server keeps of its caller's time, to answer after its own call timed out."""
TIMEOUT_MIN_S: Final = 0.001

Metadata = Sequence[tuple[str, str]]
Response_co = TypeVar("Response_co", covariant=True)

_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "connectionScaling": {"maxConnectionsPerSubchannel": CONNECTIONS_MAX},
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": ATTEMPTS_MAX,
                    "initialBackoff": f"{RETRY_WAIT_S}s",
                    "maxBackoff": f"{RETRY_WAIT_MAX_S}s",
                    "backoffMultiplier": RETRY_WAIT_GROWTH,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            },
            # Whoever watches goes on where it was, on its own, and has to know of each try that failed.
            {"name": [{"service": "batzen.status.v1.StatusService", "method": "WatchMany"}]},
        ],
        # After 500 failures that successes do not make up for, retries stop: they would keep a struggling server down.
        "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.5},
    }
)


class Observed(Protocol):
    """A call that somebody looks at from its beginning to its end."""

    @property
    def metadata(self) -> Metadata:
        """What is sent with it, besides all else."""

    def follow(self, call: aio.Call) -> None:
        """Take the call, which has begun."""


Observe = Callable[[str], Observed | None]
"""Asked for each unary call by the full name of its method; None: nobody looks. A stream outlives what opened it."""


def make_channel(
    address: str,
    *,
    timeout_s: float,
    metadata: Callable[[], Metadata],
    remaining_s: Callable[[], float | None] = lambda: None,
    credentials: grpc.ChannelCredentials | None = None,
    observe: Observe | None = None,
    options: Sequence[tuple[str, int | str]] = (),
) -> aio.Channel:
    """Return a channel to `address`, for `async with`; plaintext without `credentials`.

    `timeout_s` is the deadline of every unary call that names none; none is later than what `remaining_s` says is left
    of the call being served, less `HOP_MARGIN_S`. Streams have only that and what they are called with. `metadata` is
    asked for each call and must not block; what a call is given with the same key takes its place. `observe` is asked
    who looks at a call. `options` override ours and are for tests.
    """
    ours: list[tuple[str, int | str]] = [
        ("grpc.keepalive_time_ms", _ms(KEEPALIVE_S)),
        ("grpc.keepalive_timeout_ms", _ms(KEEPALIVE_TIMEOUT_S)),
        ("grpc.http2.ping_timeout_ms", _ms(KEEPALIVE_TIMEOUT_S)),  # what counts; the one above alone does nothing
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", _ms(RECONNECT_MIN_S)),
        ("grpc.min_reconnect_backoff_ms", _ms(CONNECT_TIMEOUT_S)),  # is that, whatever its name says
        ("grpc.max_reconnect_backoff_ms", _ms(RECONNECT_MAX_S)),
        ("grpc.dns_min_time_between_resolutions_ms", _ms(RESOLVE_EVERY_S)),
        ("grpc.service_config", _SERVICE_CONFIG),
    ]
    merged = list((dict(ours) | dict(options)).items())
    if credentials is None:
        inner = aio.insecure_channel(address, options=merged)
    else:
        inner = aio.secure_channel(address, credentials, options=merged)
    return _Channel(inner, timeout_s=timeout_s, metadata=metadata, remaining_s=remaining_s, observe=observe)


class Stream(Protocol[Response_co]):
    """A call whose responses come one by one."""

    def __aiter__(self) -> AsyncIterator[Response_co]: ...

    def cancel(self) -> bool: ...


@asynccontextmanager
async def streaming(call: Stream[Response_co]) -> AsyncIterator[AsyncIterator[Response_co]]:
    """Read a stream inside, and cancel it on the way out: leaving a bare `async for` would let it run on for ever."""
    try:
        yield call.__aiter__()
    finally:
        call.cancel()


class _Channel(aio.Channel):
    """A channel that adds deadline and metadata as a call starts; grpc's own interceptors cost a task per call."""

    def __init__(
        self,
        inner: aio.Channel,
        *,
        timeout_s: float,
        metadata: Callable[[], Metadata],
        remaining_s: Callable[[], float | None],
        observe: Observe | None,
    ) -> None:
        self._inner: Any = inner  # the stubs below it do not know _registered_method
        self._timeout_s = timeout_s
        self._metadata = metadata
        self._remaining_s = remaining_s
        self._observe = observe

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._prepared(
            self._inner.unary_unary(method, *args, **kwargs),
            timeout_s=self._timeout_s,
            observe=self._observe,
            method=method,
        )

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._prepared(self._inner.unary_stream(*args, **kwargs), timeout_s=None)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._prepared(self._inner.stream_unary(*args, **kwargs), timeout_s=self._timeout_s)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._prepared(self._inner.stream_stream(*args, **kwargs), timeout_s=None)

    def _prepared(
        self, start: Callable[..., Any], *, timeout_s: float | None, observe: Observe | None = None, method: str = ""
    ) -> Any:
        own_metadata, own_remaining_s, default_s = self._metadata, self._remaining_s, timeout_s

        def call(
            request: Any = None, *, timeout: float | None = None, metadata: Metadata | None = None, **kwargs: Any
        ) -> Any:
            timeout_s = default_s if timeout is None else timeout
            left_s = own_remaining_s()
            if left_s is not None:
                left_s = max(left_s - HOP_MARGIN_S, TIMEOUT_MIN_S)
                timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
            given = tuple(own_metadata())
            if metadata is not None:
                replaced = {key for key, _ in metadata}
                given = (*(pair for pair in given if pair[0] not in replaced), *metadata)
            observed = None if observe is None else observe(method)
            if observed is None:
                return start(request, timeout=timeout_s, metadata=given, **kwargs)
            started = start(request, timeout=timeout_s, metadata=(*observed.metadata, *given), **kwargs)
            observed.follow(started)
            return started

        return call

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return cast("grpc.ChannelConnectivity", self._inner.get_state(try_to_connect))

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

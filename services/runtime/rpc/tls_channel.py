"""A channel to a peer under mutual TLS whose certificate is replaced while it is used.

gRPC reads a channel's certificate once. So a new channel takes the place of the old one when the files have changed:
calls that begin go by the new one, and those under way end on the old one, which is closed when the last must have
ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self

import grpc
from grpc import aio

from services.runtime.rpc.tls import FollowedTls, TlsFiles
from services.runtime.work.loops import detached

RECHECK_S: Final = 1.0
"""Between two looks at the files, at the beginning of a call."""
DRAIN_S: Final = 60.0
"""How long an old channel is kept: no call of ours to a peer has so late a deadline."""


class MakeChannel(Protocol):
    """Opens a channel by credentials."""

    def __call__(self, *, credentials: grpc.ChannelCredentials) -> aio.Channel: ...


class TlsChannel(aio.Channel):
    """The channel of the moment."""

    def __init__(
        self,
        tls: TlsFiles,
        make: MakeChannel,
        *,
        clock: Callable[[], float] = time.monotonic,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._followed = FollowedTls(tls)
        self._make = make
        self._clock = clock
        self._drain_s = drain_s
        self._looked_at = clock()
        self._channel = self._opened()
        self._old: dict[aio.Channel, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._prepared(lambda channel: channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._prepared(lambda channel: channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._prepared(lambda channel: channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._prepared(lambda channel: channel.stream_stream(*args, **kwargs))

    def _prepared(self, bind: Callable[[Any], Callable[..., Any]]) -> Any:
        bound_to = self._channel
        start = bind(bound_to)

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal bound_to, start
            self._look()
            if bound_to is not self._channel:
                bound_to = self._channel
                start = bind(bound_to)
            return start(*args, **kwargs)

        return call

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < RECHECK_S:
            return
        self._looked_at = now
        if self._followed.changed() is not None:
            old, self._channel = self._channel, self._opened()
            self._old[old] = asyncio.get_running_loop().call_later(self._drain_s, self._end, old)

    def _opened(self) -> aio.Channel:
        return self._make(credentials=self._followed.files.for_channel())

    def _end(self, old: aio.Channel) -> None:
        del self._old[old]
        closing = detached(old.close(), name="channel_closing")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self, grace: float | None = None) -> None:
        for timer in self._old.values():
            timer.cancel()
        await asyncio.gather(self._channel.close(grace), *(old.close(grace) for old in self._old), *self._closing)
        self._old.clear()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()

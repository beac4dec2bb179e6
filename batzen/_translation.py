"""A channel whose calls fail with `BatzenError` instead of `AioRpcError`; everything else about them stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, Self

import grpc
from grpc import aio

from batzen.errors import from_rpc_error


class TranslatingChannel(aio.Channel):
    """Wraps a channel; stubs made on it raise `BatzenError`."""

    def __init__(self, inner: aio.Channel) -> None:
        self._inner: Any = inner  # the stubs below it do not know _registered_method

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _translated(self._inner.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _translated(self._inner.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _translated(self._inner.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _translated(self._inner.stream_stream(*args, **kwargs))

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        state: grpc.ChannelConnectivity = self._inner.get_state(try_to_connect)
        return state

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


class _Call:
    """A running call; what is not about its result goes to the call itself."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            return (yield from self._inner.__await__())
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for response in self._inner:
                yield response
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def read(self) -> Any:
        try:
            return await self._inner.read()
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def write(self, request: Any) -> None:
        try:
            await self._inner.write(request)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error


def _translated(start: Callable[..., Any]) -> Callable[..., _Call]:
    def call(*args: Any, **kwargs: Any) -> _Call:
        return _Call(start(*args, **kwargs))

    return call

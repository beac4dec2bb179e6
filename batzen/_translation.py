"""A channel whose calls fail with `BatzenError` instead of `AioRpcError`; everything else about them stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from grpc import aio

from batzen.errors import from_rpc_error, refused


class TranslatingChannel(aio.Channel):
    """Wraps a channel; stubs made on it raise `BatzenError`."""

    def __init__(self, inner: aio.Channel) -> None:
        self._inner: Any = inner  # the stubs below it do not know _registered_method

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _translated(self._inner.unary_unary(*args, **kwargs), _Answer)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _translated(self._inner.unary_stream(*args, **kwargs), _Responses)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _translated(self._inner.stream_unary(*args, **kwargs), _Answer)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _translated(self._inner.stream_stream(*args, **kwargs), _Responses)

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

    async def write(self, request: Any) -> None:
        with _translating():
            await self._inner.write(request)


class _Answer(_Call):
    """A call with one response."""

    def __await__(self) -> Generator[Any, None, Any]:
        with _translating():
            return (yield from self._inner.__await__())


class _Responses(_Call):
    """A call with a stream of them."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        with _translating():
            async for response in self._inner:
                yield response

    async def read(self) -> Any:
        with _translating():
            return await self._inner.read()


@contextmanager
def _translating() -> Generator[None]:
    try:
        yield
    except aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    except asyncio.CancelledError as error:
        # grpc.aio says so, too, when the call was cancelled, or its channel closed, and nobody cancelled the task.
        task = asyncio.current_task()
        if task is not None and not task.cancelling():
            raise refused(grpc.StatusCode.CANCELLED, message="The call was canceled, or its client closed.") from error
        raise


def _translated(start: Callable[..., Any], kind: type[_Call]) -> Callable[..., _Call]:
    def call(*args: Any, **kwargs: Any) -> _Call:
        return kind(start(*args, **kwargs))

    return call

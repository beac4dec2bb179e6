"""The client for callers without asyncio: the same calls and watches, each waited for where it is made.

    with SyncClient.from_environ() as batzen:
        started = batzen.orchestrator.StartPayment(StartPaymentRequest(request_id=new_request_id(), …))
        for update in batzen.watch(started.session.payment.payment_id, until_settled=True):
            print(update.revision, PaymentState.Name(update.state))

One event loop in a thread of its own does the work for all threads. Code that has an event loop uses `Client`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

import grpc

from batzen._channel import streaming
from batzen.client import TIMEOUT_S, Addresses, Client, token_in
from batzen.status.v1.status_pb2 import Transition
from batzen.watching import WatchOptions
from batzen.watching.assertions import Token

Result = TypeVar("Result")
Wait = Callable[[Coroutine[Any, Any, Any]], Any]

CLOSE_GRACE_S: Final = 5.0
"""For what was begun before the client was closed; its calls and watches end at once."""
_END: Final = object()


class ClientClosed(RuntimeError):
    """The client was closed before."""


class SyncClient:
    """The services of the suite, for one caller, from any thread. Use it with `with`, or `close` it."""

    def __init__(
        self,
        *,
        token: Token,
        addresses: Addresses | None = None,
        timeout_s: float = TIMEOUT_S,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """Take what `Client` takes; a `token` that is a function is called in the thread of the event loop."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="batzen", daemon=True)
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread.start()
        self._client = self._wait(
            _make(lambda: Client(token=token, addresses=addresses, timeout_s=timeout_s, credentials=credentials))
        )
        self.orchestrator = SyncStub(self._client.orchestrator, self._wait)
        self.pricing = SyncStub(self._client.pricing, self._wait)
        self.status = SyncStub(self._client.status, self._wait)
        self.intents = SyncStub(self._client.intents, self._wait)
        self.checkout = SyncStub(self._client.checkout, self._wait)
        self.refunds = SyncStub(self._client.refunds, self._wait)
        self.payment_methods = SyncStub(self._client.payment_methods, self._wait)
        self.sellers = SyncStub(self._client.sellers, self._wait)
        self.transfers = SyncStub(self._client.transfers, self._wait)
        self.disputes = SyncStub(self._client.disputes, self._wait)
        self.gateway_ops = SyncStub(self._client.gateway_ops, self._wait)
        self.orchestrator_ops = SyncStub(self._client.orchestrator_ops, self._wait)
        self.notifications = SyncStub(self._client.notifications, self._wait)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read BATZEN_TOKEN and the addresses BATZEN_<SERVICE>_ADDRESS. Raises ValueError without a token."""
        return cls(token=token_in(environ), addresses=Addresses.from_environ(environ))

    def watch(self, payment_id: str, **options: Unpack[WatchOptions]) -> Iterator[Transition]:
        """Follow a payment as `Client.watch` does; leaving the loop ends the watch."""
        return _iterate(self._wait, lambda: self._client.watch(payment_id, **options))

    def call(self, work: Callable[[Client], Awaitable[Result]]) -> Result:
        """Do with the `Client` what has no form of its own here: `call(lambda batzen: batzen.status.GetPayment(…))`."""

        async def done() -> Result:
            return await work(self._client)

        return self._wait(done())

    def close(self) -> None:
        """Close the connections and end the thread; what other threads still wait for ends as `Cancelled`."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something on the event loop, and wait for it; when the waiting is interrupted it is canceled."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("A call from the client's own thread would wait for itself.")
        with self._lock:
            if self._is_closed:
                work.close()
                raise ClientClosed("The client was closed.")
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    async def _finish(self) -> None:
        """Close the client, and let whatever was begun before come to its end; nothing new begins."""
        await self._client.close()
        begun = asyncio.all_tasks() - {asyncio.current_task()}
        if begun:
            _, late = await asyncio.wait(begun, timeout=CLOSE_GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)  # whoever waits is told


class SyncStub:
    """The methods of one service: each call waits for its answer, each stream is an iterator."""

    def __init__(self, stub: object, wait: Wait) -> None:
        self._stub = stub
        self._wait = wait

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._stub, name)

        def call(*arguments: Any, **options: Any) -> Any:
            async def begin() -> Any:
                running = method(*arguments, **options)
                return (await running) if isinstance(running, Awaitable) else streaming(running)

            answer = self._wait(begin())
            is_stream = isinstance(answer, AbstractAsyncContextManager)
            return _iterate(self._wait, lambda: answer) if is_stream else answer

        return call


async def _make(make: Callable[[], Result]) -> Result:
    return make()


def _iterate(wait: Wait, open_: Callable[[], AbstractAsyncContextManager[AsyncIterator[Result]]]) -> Iterator[Result]:
    """Iterate over what is inside an asynchronous context, and leave that at the end, however it comes."""

    async def enter() -> tuple[AbstractAsyncContextManager[AsyncIterator[Result]], AsyncIterator[Result]]:
        context = open_()
        return context, await context.__aenter__()

    async def advance() -> Result | object:
        return await anext(items, _END)

    async def leave() -> None:
        await context.__aexit__(None, None, None)

    context, items = wait(enter())
    try:
        while (item := wait(advance())) is not _END:
            yield item
    finally:
        with suppress(ClientClosed):  # which has ended it
            wait(leave())

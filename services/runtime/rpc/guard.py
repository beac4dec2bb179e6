"""What stands around every handler, outermost first: log line, answer to errors, deadline, identity, access.

It is wound around each handler once, when the server is built, since what grpc.aio calls an interceptor is asked anew
for every call. A stream's handler may be an async generator or write to its context. We do the writing for a generator,
so that it is closed in the task that ran it, even when its reader disconnected in the middle of a message.

A stream ends when its caller's token does, and soon after the server begins to drain, whatever its handler does.

Requests are parsed and their texts looked through once their caller was let in. A handler of a stream of requests takes
them from its iterator: what it would read from its context is neither.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from services.errors import (
    DeadlineMissing,
    DeadlineTooLong,
    NotImplementedYet,
    PermissionDenied,
    RequestMalformed,
    ServiceError,
    ShuttingDown,
    TooManyStreams,
    Unauthenticated,
)
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import RPC_IN_FLIGHT, MethodMetrics
from services.runtime.rpc import call_context
from services.runtime.rpc.access import Allow, admit
from services.runtime.rpc.call_log import ServedCall, admitted, begin, fail, log_end
from services.runtime.rpc.callers import Callers
from services.runtime.rpc.identity import Caller
from services.runtime.rpc.issuers import Verifier
from services.runtime.rpc.limits import DEADLINE_TOLERANCE_S, DRAIN_STREAMS_S, Limits
from services.runtime.rpc.texts import check_texts
from services.shared.fields import is_payment_id

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = aio.ServicerContext[Any, Any]


class Guard:
    """Winds the common protection around handlers; one per server."""

    def __init__(
        self,
        *,
        verifier: Verifier,
        limits: Limits,
        draining: asyncio.Event,
        now: Callable[[], datetime],
        meter: Meter = OFF,
    ) -> None:
        self._verifier = verifier
        self._limits = limits
        self._draining = draining
        self._now = now
        self._meter = meter
        self._streams_by_caller: Counter[tuple[str, str]] = Counter()
        self._open_streams: set[asyncio.Timeout] = set()
        self._callers = Callers(limits, clock=asyncio.get_running_loop().time)
        self._running = 0
        self._idle = asyncio.Event()
        in_flight = meter.gauge(RPC_IN_FLIGHT)
        meter.read_when_asked(lambda: in_flight.set(self._running))

    def wrap(self, method: str, handler: Handler, *, rule: Allow) -> Handler:
        """Return `handler` of the full `method`, protected, for callers that `rule` lets in."""
        behavior = _behavior(handler)
        if not (inspect.iscoroutinefunction(behavior) or inspect.isasyncgenfunction(behavior)):
            # Only what a generated base class leaves to be written is not async; any other would block the loop.
            return self._unwritten(method, handler, rule)
        if handler.response_streaming:
            return self._streaming(method, handler, behavior, rule)
        return self._unary(method, handler, behavior, rule)

    def end_streams(self) -> None:
        """Give open streams `DRAIN_STREAMS_S` to end themselves; what is open then is ended as SHUTTING_DOWN."""
        latest = asyncio.get_running_loop().time() + DRAIN_STREAMS_S
        for ending in self._open_streams:
            if not ending.expired():
                ending.reschedule(min(latest, ending.when() or latest))

    @property
    def is_idle(self) -> bool:
        """Whether no call is being served. What they answered may still be on its way."""
        return not self._running

    async def until_idle(self) -> None:
        """Wait until no call is being served."""
        while self._running:
            self._idle.clear()
            await self._idle.wait()

    def _unary(self, method: str, handler: Handler, behavior: Callable[..., Awaitable[Any]], rule: Allow) -> Handler:
        """Wrap a handler with one response. It is serialised here, so that this, too, cannot fail without an answer."""
        parse = _parser(handler)
        serialize = handler.response_serializer or _as_it_is
        deadline_required = not handler.request_streaming
        metrics = MethodMetrics(self._meter, method, is_stream=False)

        async def serve(received: Any, context: Context) -> bytes:
            call = begin(method, context, metrics)
            self._running += 1
            try:
                if deadline_required:
                    self._check_deadline()
                caller = await self._admit(call, rule)
                entered = await self._callers.enter(caller, call_context.current_access())
                try:
                    request = parse(received)
                    _check_actor(request, caller)
                    context.set_trailing_metadata(((call_context.CORRELATION_KEY, call.correlation),))
                    reply: bytes = serialize(await behavior(request, context))
                finally:
                    self._callers.leave(entered)
            except BaseException as error:  # noqa: BLE001 the one place that answers for every failure
                await fail(call, error)
            finally:
                self._finished()
            log_end(call, context.code() or grpc.StatusCode.OK)
            return reply

        return _handler(handler, serve, send=None)

    def _streaming(self, method: str, handler: Handler, behavior: Callable[..., Any], rule: Allow) -> Handler:
        parse = _parser(handler)
        run = partial(_run_generator, behavior) if inspect.isasyncgenfunction(behavior) else behavior
        metrics = MethodMetrics(self._meter, method, is_stream=True)

        async def serve(received: Any, context: Context) -> None:
            call = begin(method, context, metrics)
            self._running += 1
            ending = asyncio.timeout(None)
            try:
                caller = await self._admit(call, rule)
                correlation = ((call_context.CORRELATION_KEY, call.correlation),)
                context.set_trailing_metadata(correlation)
                self._enter(caller, ending)
                metrics.stream(1)
                try:
                    async with ending:
                        ending.reschedule(self._expires_at(caller))
                        # At once, so that a caller knows it was let in before there is anything to say.
                        await context.send_initial_metadata(correlation)
                        await run(parse(received), context)
                finally:
                    metrics.stream(-1)
                    self._leave(caller, ending)
            except BaseException as error:  # noqa: BLE001 the one place that answers for every failure
                await fail(call, self._ended(ending) or error)
            finally:
                self._finished()
            log_end(call, context.code() or grpc.StatusCode.OK)

        return _handler(handler, serve, send=_serializer(handler))

    def _unwritten(self, method: str, handler: Handler, rule: Allow) -> Handler:
        metrics = MethodMetrics(self._meter, method, is_stream=handler.response_streaming)

        async def serve(_: Any, context: Context) -> NoReturn:
            call = begin(method, context, metrics)
            try:
                await self._admit(call, rule)
                raise NotImplementedYet
            except BaseException as error:  # noqa: BLE001 the one place that answers for every failure
                await fail(call, error)

        return _handler(handler, serve, send=None)

    def _finished(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()

    def _check_deadline(self) -> None:
        remaining_s = call_context.time_remaining()
        if remaining_s is None:
            raise DeadlineMissing
        if remaining_s > self._limits.deadline_max_s + DEADLINE_TOLERANCE_S:
            raise DeadlineTooLong(max_s=self._limits.deadline_max_s)

    async def _admit(self, call: ServedCall, rule: Allow) -> Caller:
        """Find out who calls and whether they may; afterwards the handler can ask, too."""
        if call.token is None:
            raise Unauthenticated
        caller = await self._verifier.verify(call.token)
        admitted(call, caller)
        call_context.admitted(caller, admit(rule, caller, now=self._now()))
        return caller

    def _enter(self, caller: Caller, ending: asyncio.Timeout) -> None:
        if self._draining.is_set():
            raise ShuttingDown
        key = (caller.tenant_id, caller.subject)
        if self._streams_by_caller[key] >= self._limits.streams_per_caller_max:
            raise TooManyStreams(max=self._limits.streams_per_caller_max)
        self._streams_by_caller[key] += 1
        self._open_streams.add(ending)

    def _leave(self, caller: Caller, ending: asyncio.Timeout) -> None:
        self._open_streams.discard(ending)
        key = (caller.tenant_id, caller.subject)
        self._streams_by_caller[key] -= 1
        if not self._streams_by_caller[key]:
            del self._streams_by_caller[key]

    def _expires_at(self, caller: Caller) -> float:
        """Return when the caller's token expires, by the loop's clock."""
        return asyncio.get_running_loop().time() + (caller.expire_time - self._now()).total_seconds()

    def _ended(self, ending: asyncio.Timeout) -> ServiceError | None:
        """Return why a stream was ended, if it was."""
        if not ending.expired():
            return None
        return ShuttingDown() if self._draining.is_set() else Unauthenticated(detail="It has expired.")


async def _run_generator(behavior: Callable[..., Any], request: Any, context: Context) -> None:
    """Run a stream's handler to its end, and write what it yields."""
    messages: AsyncIterator[Any]
    async with aclosing(behavior(request, context)) as messages:
        async for message in messages:
            await context.write(message)


def _check_actor(request: Any, caller: Caller) -> None:
    """Refuse a request in which somebody decides in another's name: a front vouches for one person.

    What decides has a `request_id`; without one, `actor_id` is a filter of what others decided.
    """
    if caller.act and hasattr(request, "request_id") and getattr(request, "actor_id", "") not in ("", caller.subject):
        raise PermissionDenied(detail="Whoever a front speaks for decides in their own name: `actor_id` is theirs.")


def _as_it_is(message: Any) -> Any:
    return message


def _parser(handler: Handler) -> Callable[[Any], Any]:
    """Return what makes requests of what was received: of bytes, or of a stream of them.

    A request that names a payment says what its call is about, for log and trace.

    grpc is not told to parse: what it cannot parse it answers itself, with nothing that says why.
    """
    deserialize = handler.request_deserializer
    if deserialize is None:
        return _as_it_is

    def parse(received: bytes) -> Any:
        try:
            request = deserialize(received)
        except DecodeError as error:
            raise RequestMalformed from error
        check_texts(request, received)
        payment_id = getattr(request, "payment_id", None)
        if payment_id and is_payment_id(payment_id):
            call_context.about(payment_id)
        return request

    return partial(_Requests, parse) if handler.request_streaming else parse


class _Requests:
    """A stream of requests, parsed one by one as they are asked for."""

    def __init__(self, parse: Callable[[bytes], Any], received: AsyncIterator[bytes]) -> None:
        self._parse = parse
        self._received = received
        self._messages: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> Self:
        if self._messages is None:  # not before somebody reads: grpc's own complains when nobody does
            self._messages = aiter(self._received)
        return self

    async def __anext__(self) -> Any:
        assert self._messages is not None, "whoever reads has begun"  # noqa: S101
        return self._parse(await anext(self._messages))


def _serializer(handler: Handler) -> Callable[[Any], bytes]:
    """Return what writes a stream's message; one that is bytes was written already, once for many streams."""
    serialize = handler.response_serializer or _as_it_is

    def write(message: Any) -> bytes:
        return message if type(message) is bytes else serialize(message)

    return write


def _behavior(handler: Handler) -> Callable[..., Any]:
    behavior: Callable[..., Any] | None = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    if behavior is None:
        raise TypeError("a method handler without behaviour")
    return behavior


def _handler(
    original: Handler,
    behavior: Callable[..., Any],
    *,
    send: Callable[[Any], bytes] | None,
) -> Handler:
    make = _KINDS[original.request_streaming, original.response_streaming]
    return make(behavior, request_deserializer=None, response_serializer=send)


_KINDS: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

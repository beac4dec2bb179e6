"""One call being served: how it begins, how it ends, its log line, its figures, and its span if it is recorded.

Whether it is recorded follows from its correlation id alone, so that nobody who calls can have their own decision
carried through the suite. Where a caller says which span they call under, that is heard once they are known, and of
services alone: it becomes the parent in the same trace, and a link in another. Of a payer, a seller or an operator,
who sit behind a browser, it is nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
from grpc import aio

from services.errors import ServiceError
from services.runtime.observability import tracing
from services.runtime.observability.process_metrics import UNCOUNTED, MethodMetrics
from services.runtime.observability.trace_context import TRACEPARENT, SpanRef
from services.runtime.observability.tracing import Kind, Trace
from services.runtime.rpc import call_context
from services.runtime.rpc.error_status import DETAILS_KEY, Answer, answer_to
from services.runtime.rpc.identity import SERVICE, Caller
from services.runtime.rpc.limits import DEADLINE_TOLERANCE_S, STATUS_FLUSH_S

if TYPE_CHECKING:
    Context = aio.ServicerContext[Any, Any]

AUTHORIZATION: Final = "authorization"
BEARER: Final = "Bearer "
DO_NOT_RETRY: Final = ("grpc-retry-pushback-ms", "-1")
"""What a server says to the retry policy of its caller's channel; gRPC's own word for it."""

_calls_logger = logging.getLogger("batzen.calls")
_logger = logging.getLogger(__name__)

_LEVELS: Final[Mapping[grpc.StatusCode, int]] = {
    grpc.StatusCode.INTERNAL: logging.ERROR,
    grpc.StatusCode.UNKNOWN: logging.ERROR,
    grpc.StatusCode.DATA_LOSS: logging.ERROR,
    grpc.StatusCode.UNAVAILABLE: logging.WARNING,
    grpc.StatusCode.RESOURCE_EXHAUSTED: logging.WARNING,
    grpc.StatusCode.DEADLINE_EXCEEDED: logging.WARNING,
}

SPAN_FAILED: Final = frozenset(code for code, level in _LEVELS.items() if level >= logging.WARNING)
"""With these a server's span counts as failed; all other refusals are answers."""
RECORDED_ANYHOW: Final = frozenset(code for code, level in _LEVELS.items() if level >= logging.ERROR)
"""A call that ends like this has a span though it was not chosen: a bug. Not what an outage answers: while the suite
has least to spare that would be every call."""


@dataclass(slots=True)
class ServedCall:
    """One call, for its log line and its span."""

    method: str
    started: float
    correlation: str
    context: Context
    token: str | None
    metrics: MethodMetrics
    caller: Caller | None = None
    trace: Trace | None = None
    traceparent: str | None = None


def begin(method: str, context: Context, metrics: MethodMetrics = UNCOUNTED) -> ServedCall:
    """Read what the metadata says; from here on the call's task knows its correlation id, deadline and trace."""
    correlation = token = traceparent = None
    for key, value in context.invocation_metadata() or ():
        if key == AUTHORIZATION and isinstance(value, str) and value.startswith(BEARER):
            token = value.removeprefix(BEARER)
        elif key == call_context.CORRELATION_KEY and isinstance(value, str):
            correlation = value
        elif key == TRACEPARENT and isinstance(value, str):
            traceparent = value
    correlation = call_context.sane_correlation(correlation)
    trace = call_context.begin(correlation=correlation, remaining_s=context.time_remaining())
    return ServedCall(
        method=method,
        started=time.perf_counter(),
        correlation=correlation,
        context=context,
        token=token,
        metrics=metrics,
        trace=trace,
        traceparent=None if trace is None else traceparent,
    )


def admitted(call: ServedCall, caller: Caller) -> None:
    """Note who calls, and under which span if they may say so."""
    call.token = None  # a stream may last, and has many like it
    call.caller = caller
    if call.traceparent is None or call.trace is None or SERVICE not in caller.roles:
        return
    under = SpanRef.from_traceparent(call.traceparent)
    if under is None:
        return
    if under.trace_id == call.trace.span.trace_id:
        call.trace.parent_id = under.span_id
    else:
        call.trace.link(under)


async def fail(call: ServedCall, error: BaseException) -> NoReturn:
    """Log the end of the call and give its answer; always raises."""
    if isinstance(error, aio.AbortError):
        log_end(call, call.context.code())
        raise error
    if isinstance(error, aio.BaseError) and not isinstance(error, aio.UsageError):
        log_end(call, grpc.StatusCode.CANCELLED)  # the caller disconnected in the middle of a read or a write
        raise error
    if not isinstance(error, Exception):
        remaining_s = call_context.time_remaining()
        is_late = remaining_s is not None and remaining_s <= DEADLINE_TOLERANCE_S
        log_end(call, grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.CANCELLED)
        raise error
    answer = answer_to(error)
    if answer.is_bug:
        _logger.error("A bug in %s", call.method, exc_info=error)
    await abort(call, answer, cause=error)


async def abort(call: ServedCall, answer: Answer, *, cause: Exception | None = None) -> NoReturn:
    """Log the end of the call and give the answer; always raises."""
    log_end(call, answer.code, reason=answer.reason, cause=cause)
    metadata: tuple[tuple[str, str | bytes], ...] = ((call_context.CORRELATION_KEY, call.correlation),)
    if answer.details is not None:
        metadata = (*metadata, (DETAILS_KEY, answer.details))
    if answer.was_retried:
        metadata = (*metadata, DO_NOT_RETRY)
    try:
        async with asyncio.timeout(STATUS_FLUSH_S):
            await call.context.abort(answer.code, answer.message, metadata)
    except TimeoutError as error:
        # The status stands behind a message that the reader does not take. It will find it if it ever reads on.
        raise asyncio.CancelledError from error


def log_end(
    call: ServedCall, code: grpc.StatusCode, *, reason: str | None = None, cause: Exception | None = None
) -> None:
    """Count the call, and log who called what, and how it ended; write its span."""
    seconds = time.perf_counter() - call.started
    call.metrics.ended(code, reason, seconds=seconds)
    if tracing.is_on():
        _end_span(call, code, reason)
    level = _LEVELS.get(code, logging.INFO)
    if not _calls_logger.isEnabledFor(level):
        return
    fields: dict[str, Any] = {
        "method": call.method,
        "code": code.name,
        "duration_ms": round(seconds * 1000, 2),
        "correlation_id": call.correlation,
        "peer": call.context.peer(),
    }
    if call.caller is not None:
        fields["subject"] = call.caller.subject
        fields["tenant"] = call.caller.tenant_id
        fields["roles"] = sorted(call.caller.roles)
        if call.caller.act:
            fields["act"] = call.caller.act
    if reason is not None:
        fields["reason"] = reason
    if isinstance(cause, ServiceError):
        if cause.field is not None:
            fields["field"] = cause.field
        if cause.__cause__ is not None:  # the caller is not told; its text stays out, as it may quote the request
            fields["cause"] = type(cause.__cause__).__name__
    record = logging.LogRecord(_calls_logger.name, level, "", 0, "call", (), None)
    record.__dict__["fields"] = fields
    _calls_logger.handle(record)


def _end_span(call: ServedCall, code: grpc.StatusCode, reason: str | None) -> None:
    trace = call.trace
    if trace is None and code in RECORDED_ANYHOW:
        elapsed_ns = round((time.perf_counter() - call.started) * 1e9)
        trace = tracing.begin_late(call.correlation, time.time_ns() - elapsed_ns)
    if trace is None:
        return
    method = call.method.removeprefix("/")
    trace.attributes |= {
        "rpc.system.name": "grpc",
        "rpc.method": method,
        "rpc.response.status_code": code.name,
        "batzen.correlation_id": call.correlation,
    }
    if call.caller is not None:
        trace.attributes["batzen.tenant"] = call.caller.tenant_id
    if reason is not None:
        trace.attributes["batzen.reason"] = reason
    tracing.end(trace, method, Kind.SERVER, is_failed=code in SPAN_FAILED)

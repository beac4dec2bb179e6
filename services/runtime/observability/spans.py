"""The spans below a call or a run that is recorded: what it asks of others. Where none is recorded they cost a look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import grpc

from services.runtime.observability import tracing
from services.runtime.observability.trace_context import TRACEPARENT, SpanRef
from services.runtime.observability.tracing import Kind, Trace, Value
from services.runtime.rpc import call_context
from services.runtime.work.loops import detached

if TYPE_CHECKING:
    from grpc import aio

_FOLLOWING: Final[set[asyncio.Task[None]]] = set()
"""Of calls under way; without it they might be collected."""
NOTHING: Final = nullcontext[None]()
"""The span of what is not recorded."""


class PeerCall:
    """A call to a service of ours, from its beginning to its end."""

    __slots__ = ("_method", "_parent", "_span", "_started_ns")

    def __init__(self, method: str, parent: Trace) -> None:
        self._method = method.removeprefix("/")
        self._parent = parent.span
        self._span = SpanRef(parent.span.trace_id, tracing.new_span_id())
        self._started_ns = time.time_ns()

    @property
    def metadata(self) -> tuple[tuple[str, str]]:
        """What tells the peer under which span it is called."""
        return ((TRACEPARENT, self._span.traceparent),)

    def follow(self, call: aio.Call) -> None:
        """Write the span when the call has ended."""
        task = detached(self._followed(call), name="spans")
        _FOLLOWING.add(task)
        task.add_done_callback(_FOLLOWING.discard)

    async def _followed(self, call: aio.Call) -> None:
        code = await call.code()
        tracing.write(
            self._method,
            Kind.CLIENT,
            span=self._span,
            parent_id=self._parent.span_id,
            started_ns=self._started_ns,
            attributes={"rpc.system.name": "grpc", "rpc.method": self._method, "rpc.response.status_code": code.name},
            is_failed=code is not grpc.StatusCode.OK,
        )


def peer_call(method: str) -> PeerCall | None:
    """Return the span of a call to a peer that begins; None if it is not recorded."""
    trace = call_context.current_trace()
    return None if trace is None else PeerCall(method, trace)


def span(
    name: str, kind: Kind = Kind.INTERNAL, facts: Mapping[str, Value] = MappingProxyType({})
) -> AbstractContextManager[dict[str, Value] | None]:
    """Write what is done inside as a span of the current call or run; yields its attributes, None if not recorded.

    It has failed if it raises, or if `error.type` is among its attributes.
    """
    trace = call_context.current_trace()
    return NOTHING if trace is None else _written(trace, name, kind, facts)


@contextmanager
def _written(trace: Trace, name: str, kind: Kind, facts: Mapping[str, Value]) -> Generator[dict[str, Value]]:
    started_ns, attributes = time.time_ns(), dict(facts)
    try:
        yield attributes
    except BaseException as error:
        attributes.setdefault("error.type", type(error).__name__)
        raise
    finally:
        tracing.write(
            name,
            kind,
            span=SpanRef(trace.span.trace_id, tracing.new_span_id()),
            parent_id=trace.span.span_id,
            started_ns=started_ns,
            attributes=attributes,
            is_failed="error.type" in attributes,
        )

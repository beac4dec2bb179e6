"""The caller's own trace, if it keeps one with OpenTelemetry: our calls become part of it.

What is asked under a span that is recorded carries the trace's id as correlation id, so that the suite records it under
that same id when it chooses to, and its logs are found by it. The package needs no OpenTelemetry for that.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batzen.errors import CORRELATION_KEY

if TYPE_CHECKING:
    from grpc import aio

    from batzen._channel import Metadata


@dataclass(frozen=True, slots=True)
class CallersSpan:
    """The span under which a call is made."""

    metadata: Metadata

    def follow(self, call: aio.Call) -> None:
        """Do nothing: the span is the caller's own."""


def callers_span(_method: str) -> CallersSpan | None:
    """Return the span that is current; None if there is none, or it is not recorded."""
    # While another thread imports it for the first time the module is there, and nothing in it.
    current: Any = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if current is None:
        return None
    span = current().get_span_context()
    if not span.is_valid or not span.trace_flags.sampled:
        return None
    trace_id = f"{span.trace_id:032x}"
    return CallersSpan(((CORRELATION_KEY, trace_id), ("traceparent", f"00-{trace_id}-{span.span_id:016x}-01")))

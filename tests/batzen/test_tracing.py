"""A caller that keeps traces finds its calls in them: what is sent says under which span, and nothing else does."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanContext, TraceFlags

from batzen._tracing import callers_span

TRACE_ID, SPAN_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
RECORDED = SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
PASSED_OVER = SpanContext(TRACE_ID, SPAN_ID, is_remote=False, trace_flags=TraceFlags(TraceFlags.DEFAULT))


def test_a_call_under_a_span_carries_its_trace_as_correlation_id() -> None:
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(RECORDED)))
    try:
        span = callers_span("/any/Method")
    finally:
        context.detach(token)
    assert span is not None
    assert span.metadata == (
        ("x-correlation-id", "0af7651916cd43dd8448eb211c80319c"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    )


@pytest.mark.parametrize("current", [PASSED_OVER, INVALID_SPAN_CONTEXT])
def test_a_call_under_none_that_is_recorded_carries_nothing(current: SpanContext) -> None:
    token = context.attach(trace.set_span_in_context(NonRecordingSpan(current)))
    try:
        assert callers_span("/any/Method") is None
    finally:
        context.detach(token)
    assert callers_span("/any/Method") is None


def test_a_call_while_another_thread_imports_opentelemetry_carries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", ModuleType("opentelemetry.trace"))

    assert callers_span("/any/Method") is None

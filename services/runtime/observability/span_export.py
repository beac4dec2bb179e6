"""From spans that ended to a collector: OpenTelemetry's SDK, batches from a thread, a queue that ends.

Nothing here waits for a collector but that thread. What finds the queue full, or is refused, is dropped and counted.
Imported only where tracing is on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from batzen.version import build
from services.runtime.observability.trace_context import SpanRef
from services.runtime.observability.tracing import LINKS_MAX, Ended, Kind

QUEUE_MAX: Final = 4_096
"""Spans that wait for the collector, about 8 MB: those of 200 payments."""
BATCH_MAX: Final = 256
"""In one message: about 100 KB, and 10 ms in which the thread keeps the event loop from running."""
GATHER_S: Final = 2.0
"""How long a span waits for company."""
EXPORT_S: Final = 5.0
"""What a collector gets to take a batch, its repeats included."""
FLUSH_S: Final = 2.0
"""What it gets at the end of the process for all that waits; the rest is dropped. A part of the grace of a stop."""
ATTRIBUTES_MAX: Final = 16

_KINDS: Final[Mapping[Kind, SpanKind]] = MappingProxyType({
    Kind.INTERNAL: SpanKind.INTERNAL,
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.CONSUMER: SpanKind.CONSUMER,
})  # fmt: skip
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_FAILED: Final = Status(StatusCode.ERROR)

_logger = logging.getLogger(__name__)


def collector(endpoint: str) -> SpanExporter:
    """Return what sends to the OTLP collector at `host:port`, in the cluster and in plaintext, as health is."""
    # It would say so of every try, for as long as the collector is away; `_Counting` says when that begins and ends.
    logging.getLogger(OTLPSpanExporter.__module__.rpartition(".")[0]).setLevel(logging.CRITICAL)
    return OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=EXPORT_S)


class Exported:
    """What a process exports, and how much of it was dropped."""

    def __init__(self, exporter: SpanExporter, *, service: str) -> None:
        self._counting = _Counting(exporter)
        self._written = 0
        self._refused = 0
        self._ids = _GivenIds()
        self._processor = BatchSpanProcessor(
            self._counting,
            max_queue_size=QUEUE_MAX,
            schedule_delay_millis=GATHER_S * 1000,
            max_export_batch_size=BATCH_MAX,
        )
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not recorded has no span
            resource=Resource(
                {"service.name": service, "service.namespace": "batzen", "service.version": build().version}
            ),
            id_generator=self._ids,
            span_limits=SpanLimits(max_span_attributes=ATTRIBUTES_MAX, max_links=LINKS_MAX),
            shutdown_on_exit=False,  # `close` does it, in time
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("batzen")

    @property
    def dropped(self) -> int:
        """How many spans were lost since the start: the queue was full, or the collector did not take them."""
        return self._refused + self._counting.failed

    @property
    def written(self) -> int:
        """How many spans were made since the start, those included that were dropped."""
        return self._written + self._refused

    def write(self, ended: Ended) -> None:
        """Put a span on its way. From one thread alone, the event loop's."""
        if self._written - self._counting.taken >= QUEUE_MAX:
            self._refused += 1  # here and not in the processor, which would not say so
            return
        self._written += 1
        self._ids.trace_id, self._ids.span_id = ended.span.trace_id, ended.span.span_id
        parent = None
        if ended.parent_id is not None:
            parent = api.set_span_in_context(NonRecordingSpan(_context(SpanRef(ended.span.trace_id, ended.parent_id))))
        span = self._tracer.start_span(
            ended.name,
            context=parent or Context(),
            kind=_KINDS[ended.kind],
            attributes=ended.attributes,
            links=[Link(_context(link)) for link in ended.links],
            start_time=ended.started_ns,
        )
        if ended.is_failed:
            span.set_status(_FAILED)
        span.end(ended.ended_ns)

    def flush(self) -> None:
        """Send all that waits now, however long that takes. For tests."""
        self._processor.force_flush()

    def close(self) -> None:
        """Send what waits, for at most `FLUSH_S`; what is not sent by then is dropped with the process."""
        # The SDK's own end waits 30 s for a collector that says nothing.
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(FLUSH_S)
        if ending.is_alive():
            _logger.warning("The trace collector does not answer; spans are lost")


class _GivenIds(IdGenerator):
    """The ids of the span that is about to be made."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Counting(SpanExporter):
    """An exporter that knows what it was given and what it could not deliver; written in the exporting thread alone."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self.taken = 0
        self.failed = 0
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        try:
            result = self._inner.export(spans)
        except Exception as error:  # noqa: BLE001 whatever an exporter raises, it is the spans that are lost
            result, why = SpanExportResult.FAILURE, type(error).__name__
        else:
            why = result.name
        if result is not SpanExportResult.SUCCESS:
            self.failed += len(spans)
        if (result is SpanExportResult.SUCCESS) is self._is_away:
            self._is_away = not self._is_away
            _logger.warning("The trace collector %s", f"is away: {why}" if self._is_away else "is back")
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _context(ref: SpanRef) -> SpanContext:
    return SpanContext(ref.trace_id, ref.span_id, is_remote=True, trace_flags=_SAMPLED)

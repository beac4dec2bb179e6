"""What a test sees of the spans that its processes wrote."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.runtime.observability.span_export import Exported
from services.runtime.observability.tracing import recording


@dataclass(frozen=True)
class Written:
    """The spans that were written while inside `recorded`."""

    exported: Exported
    exporter: InMemorySpanExporter

    def spans(self) -> list[ReadableSpan]:
        self.exported.flush()
        return list(self.exporter.get_finished_spans())

    def named(self, ending: str) -> ReadableSpan:
        """Return the one whose name ends so."""
        (found,) = [span for span in self.spans() if span.name.endswith(ending)]
        return found

    def texts(self) -> Iterator[str]:
        """Yield all that is exported of each span."""
        for span in self.spans():
            yield span.to_json()


@contextmanager
def recorded(*, service: str = "tests", ratio: float = 1.0) -> Generator[Written]:
    exporter = InMemorySpanExporter()
    with recording(exporter, service=service, ratio=ratio) as exported:
        yield Written(exported, exporter)


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id

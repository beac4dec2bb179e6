"""A collector of traces that keeps them in memory, and what a test asks of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from grpc import aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

PACKAGE: Final = re.compile(r"^batzen\.\w+\.v\d+\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span that arrived."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: Sequence[str]
    """The ids of the spans that are linked to."""
    attributes: dict[str, str | int] = field(repr=False)
    started_ns: int = 0
    ended_ns: int = 0

    @property
    def title(self) -> str:
        """Service, side and what it is."""
        return f"{self.service} {self.kind} {PACKAGE.sub('', self.name)}"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes what is exported over OTLP."""

    def __init__(self) -> None:
        self.received: list[trace_service_pb2.ExportTraceServiceRequest] = []
        self._spans: list[Span] = []

    async def Export(self, request: trace_service_pb2.ExportTraceServiceRequest, _context: object) -> Any:
        self.received.append(request)
        self._spans += [
            _span(one, service=_value(_attributes(of_service.resource.attributes), "service.name"))
            for of_service in request.resource_spans
            for scope in of_service.scope_spans
            for one in scope.spans
        ]
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def text(self) -> str:
        """All that arrived."""
        return "\n".join(str(request) for request in self.received)

    def spans(self) -> list[Span]:
        """Return all that arrived."""
        return list(self._spans)


@asynccontextmanager
async def collecting(address: str = "127.0.0.1:0") -> AsyncIterator[tuple[Collector, str]]:
    """Run a collector inside; yields it and where it listens."""
    collector, server = Collector(), aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield collector, f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def pieces(spans: Iterable[Span]) -> list[list[Span]]:
    """Return the spans that belong together, by trace and by link: in one piece if they are connected."""
    spans = list(spans)
    known = {one.span_id: one for one in spans}
    beside: dict[str, set[str]] = defaultdict(set)
    for one in spans:
        for other in (one.parent_id, *one.links):
            if other in known:
                beside[one.span_id].add(other)
                beside[other].add(one.span_id)
    found: list[list[Span]] = []
    left = dict(known)
    while left:
        _, first = left.popitem()
        piece, edge = [first], [first.span_id]
        while edge:
            for other in beside[edge.pop()]:
                if other in left:
                    piece.append(left.pop(other))
                    edge.append(other)
        found.append(piece)
    return found


def _span(one: trace_pb2.Span, *, service: str) -> Span:
    return Span(
        service=service,
        name=one.name,
        kind=trace_pb2.Span.SpanKind.Name(one.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=one.trace_id.hex(),
        span_id=one.span_id.hex(),
        parent_id=one.parent_span_id.hex(),
        links=[link.span_id.hex() for link in one.links],
        attributes=_attributes(one.attributes),
        started_ns=one.start_time_unix_nano,
        ended_ns=one.end_time_unix_nano,
    )


def _attributes(pairs: Iterable[Any]) -> dict[str, str | int]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in pairs}


def _value(attributes: dict[str, str | int], name: str) -> str:
    return str(attributes[name])

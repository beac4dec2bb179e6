"""Traces of this process, in OpenTelemetry's form: off unless a process switches them on, and then of some calls.

What is recorded is decided where a correlation id is read, before there is any span. A call that is not recorded costs
that decision; while tracing is off, the look at one variable, and the SDK is not even imported.

Spans are written when they end. Until then a call or a run of work is a `Trace`: the id under which others hang their
spans, and what is to be said of it. One that dies with its process says nothing.

Spans hold ids, names out of the code, and codes: what `SAYABLE` lists, in the form of an id. Anything else that is
handed in is replaced, so that no text of a payer's or of Stripe's comes into a trace.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from services.runtime.observability.trace_context import SpanRef, bound_of, is_chosen, trace_id_of
from services.shared.cards import holds_card_number

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

    from services.runtime.observability.span_export import Exported

RATIO: Final = 0.1
"""Of calls that are recorded, unless BATZEN_TRACE_RATIO says otherwise."""
LINKS_MAX: Final = 16
"""Of one span: a run of work may have been asked for by many."""

Value = str | int

SAYABLE: Final = frozenset({
    "batzen.attempt", "batzen.call_id", "batzen.correlation_id", "batzen.event_type", "batzen.idempotency_key_hash",
    "batzen.outcome", "batzen.payment_id", "batzen.reason", "batzen.subject", "batzen.tenant", "batzen.try",
    "batzen.work", "error.type", "http.request.method", "http.response.status_code", "rpc.method",
    "rpc.response.status_code", "rpc.system.name", "stripe.request_id", "db.operation.name", "db.system.name",
})  # fmt: skip
"""Names of attributes. No amount, no name, no address: whoever needs those has the payment's id, and reads status."""
UNSAYABLE: Final = "(withheld)"
"""In the place of a value that is no id, name or code."""

_VALUE: Final = re.compile(r"[A-Za-z0-9_./:-]{1,96}")
_SECRET: Final = re.compile(r"_secret_|^(?:sk|rk|pk|whsec|ek)_|^eyJ")

_logger = logging.getLogger(__name__)


class Kind(Enum):
    """Which side of a call a span is, by OpenTelemetry's numbers."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    CONSUMER = 4


@dataclass(slots=True)
class Trace:
    """A call being served, or a run of work, that is recorded."""

    span: SpanRef
    """Its own, under which others hang theirs."""
    started_ns: int
    parent_id: int | None = None
    links: list[SpanRef] = field(default_factory=list)
    attributes: dict[str, Value] = field(default_factory=dict)

    def link(self, to: SpanRef | None) -> None:
        """Say that what `to` recorded led to this."""
        if to is not None and to != self.span and to not in self.links and len(self.links) < LINKS_MAX:
            self.links.append(to)


Sink = Callable[["Ended"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A span as it is written."""

    name: str
    kind: Kind
    span: SpanRef
    parent_id: int | None
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Value]
    links: Sequence[SpanRef]
    is_failed: bool


class _Tracing:
    """The one of this process."""

    def __init__(self) -> None:
        self.write: Sink | None = None
        self.bound = 0
        self.exported: Exported | None = None


_tracing = _Tracing()


def is_on() -> bool:
    """Tell whether this process records anything."""
    return _tracing.write is not None


def begin(correlation: str) -> Trace | None:
    """Begin what has this correlation id; None if it is not recorded."""
    if _tracing.write is None:
        return None
    trace_id = trace_id_of(correlation)
    if not is_chosen(trace_id, _tracing.bound):
        return None
    return Trace(SpanRef(trace_id, new_span_id()), time.time_ns())


def begin_late(correlation: str, started_ns: int) -> Trace | None:
    """Begin what was not chosen and turned out to be worth a span all the same; None while tracing is off."""
    return None if _tracing.write is None else Trace(SpanRef(trace_id_of(correlation), new_span_id()), started_ns)


def end(trace: Trace, name: str, kind: Kind, *, is_failed: bool = False) -> None:
    """Write the span of a call or run that has come to its end."""
    write(
        name, kind, span=trace.span, parent_id=trace.parent_id, started_ns=trace.started_ns,
        attributes=trace.attributes, links=trace.links, is_failed=is_failed,
    )  # fmt: skip


def write(
    name: str,
    kind: Kind,
    *,
    span: SpanRef,
    parent_id: int | None,
    started_ns: int,
    attributes: Mapping[str, Value],
    links: Sequence[SpanRef] = (),
    is_failed: bool = False,
) -> None:
    """Write a span that ends now. Never raises: what cannot be written is not missed by the call it is about."""
    if _tracing.write is None:
        return
    try:
        _tracing.write(
            Ended(
                name=name,
                kind=kind,
                span=span,
                parent_id=parent_id,
                started_ns=started_ns,
                ended_ns=time.time_ns(),
                attributes=said(attributes),
                links=links,
                is_failed=is_failed,
            )
        )
    except Exception:
        _logger.exception("A span could not be written")


def said(attributes: Mapping[str, Value]) -> dict[str, Value]:
    """Return what may be said of `attributes`."""
    return {name: _sayable(value) for name, value in attributes.items() if name in SAYABLE}


def _sayable(value: Value) -> Value:
    if isinstance(value, int):
        return value
    if _VALUE.fullmatch(value) and not _SECRET.search(value) and not holds_card_number(value):
        return value
    return UNSAYABLE


def new_span_id() -> int:
    """Return an id for a span."""
    return random.getrandbits(64) or 1  # tells spans apart, guards nothing


def dropped() -> Mapping[tuple[str, ...], int]:
    """Return how many spans were lost, as `Meter.follow` takes it."""
    return {(): 0 if _tracing.exported is None else _tracing.exported.dropped}


@contextmanager
def recording(exporter: SpanExporter, *, service: str, ratio: float) -> Generator[Exported]:
    """Record `ratio` of what begins while inside, and hand it to `exporter` from a thread of its own."""
    from services.runtime.observability.span_export import Exported  # noqa: PLC0415 it imports the SDK

    exported = Exported(exporter, service=service)
    _tracing.write, _tracing.bound, _tracing.exported = exported.write, bound_of(ratio), exported
    try:
        yield exported
    finally:
        _tracing.write = None
        exported.close()


@contextmanager
def exporting(endpoint: str | None, *, service: str, ratio: float) -> Generator[None]:
    """Record for the OTLP collector at `endpoint` while inside; nothing without one."""
    if endpoint is None:
        yield
        return
    from services.runtime.observability.span_export import collector  # noqa: PLC0415 it imports the SDK

    with recording(collector(endpoint), service=service, ratio=ratio) as exported:
        _logger.info("Recording %g of all calls", ratio)
        yield
    _logger.info(
        "Spans", extra={"fields": {"event": "traces.ended", "spans": exported.written, "dropped": exported.dropped}}
    )

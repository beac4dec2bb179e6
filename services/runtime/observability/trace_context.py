"""Which trace a correlation id belongs to, and whether that is recorded: the same in every service, asked of nobody.

An id in the form of ours, 32 hexadecimal digits, is its own trace id; any other is hashed. The lower half of the trace
id decides, as OpenTelemetry's own samplers have it. A follow-up, which is work that a call left behind, has an id of
its own with the lower half of its origin's: so it is recorded when that is, and both are found by that half.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final, Self

TRACEPARENT: Final = "traceparent"
"""Metadata key of W3C Trace Context: the span under which the call was made."""
ORIGIN_CHARACTERS_MAX: Final = 64 + 1 + 16
"""A correlation id, `/`, and a span's id."""

_HALF: Final = 1 << 64
_OURS: Final = re.compile(r"[0-9a-f]{32}")
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_ORIGIN: Final = re.compile(r"([A-Za-z0-9_-]{1,64})(?:/([0-9a-f]{16}))?")


@dataclass(frozen=True, slots=True)
class SpanRef:
    """One span, wherever it is."""

    trace_id: int
    span_id: int

    @classmethod
    def from_traceparent(cls, text: str) -> Self | None:
        """Read what a caller sent; None if it says nothing, or that the span is not recorded."""
        match = _TRACEPARENT.fullmatch(text)
        if match is None or not int(match[3], 16) & 1:
            return None
        return cls(int(match[1], 16), int(match[2], 16))

    @property
    def traceparent(self) -> str:
        """What is sent with a call that is made under this span."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a row due, as the row keeps it."""

    correlation: str
    span_id: int | None
    """None: that is not recorded."""

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Read what `str` wrote; None if there is nothing to read."""
        match = None if text is None else _ORIGIN.fullmatch(text)
        if match is None:
            return None
        return cls(match[1], None if match[2] is None else int(match[2], 16))

    def __str__(self) -> str:
        return self.correlation if self.span_id is None else f"{self.correlation}/{self.span_id:016x}"

    @property
    def span(self) -> SpanRef | None:
        """The span that is linked to."""
        return None if self.span_id is None else SpanRef(trace_id_of(self.correlation), self.span_id)


def trace_id_of(correlation: str) -> int:
    """Return the id of the trace of all that carries this correlation id."""
    if _OURS.fullmatch(correlation) and (number := int(correlation, 16)):
        return number
    return int.from_bytes(hashlib.sha256(correlation.encode()).digest()[:16])


def is_chosen(trace_id: int, bound: int) -> bool:
    """Tell whether a trace is recorded, `bound` being what `bound_of` says."""
    return trace_id % _HALF < bound


def bound_of(ratio: float) -> int:
    """Return below what the lower half of a trace id is chosen, so that `ratio` of all are."""
    return round(ratio * _HALF)


def follow_up(correlation: str) -> str:
    """Return a new correlation id for work that one with this id left behind: recorded when that is."""
    lower = trace_id_of(correlation) % _HALF
    return f"{secrets.randbits(64):016x}{lower:016x}"

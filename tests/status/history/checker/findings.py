"""What a checker finds wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.message import Message


class Kind(StrEnum):
    """What can be wrong."""

    GAP = "gap"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out of order"
    WRONG_BEGIN = "began at the wrong place"
    CONTENT = "content differs from what is stored"
    NEVER_STORED = "was never stored"
    BEFORE_COMMIT = "seen before it was committed"
    HEADER = "header lies"
    HEARTBEAT = "heartbeat lies"
    RESUME = "told to resume after what did not come"
    END = "ended as it should not"
    NOT_ENDED = "goes on though it should have ended"
    UNANSWERED = "was not answered"
    NOT_CAUGHT_UP = "never caught up"
    PROTOCOL = "not what the contract says comes here"
    MISSED = "missed by a feed"
    NO_CURSOR = "carries no cursor"
    CAUGHT_UP_EARLY = "said to be caught up before it was"
    RELATION = "wrong relation to the filter"
    OUTSIDE = "outside the filter"
    HISTORY = "stored history is broken"
    LOST_UPDATE = "lost update"
    ANSWER = "wrong answer to a write"
    STALE = "stale or early reading"


MAY_PASS = frozenset({Kind.NOT_CAUGHT_UP, Kind.NO_CURSOR, Kind.MISSED, Kind.NOT_ENDED, Kind.UNANSWERED})
"""What time may mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, and where."""

    kind: Kind
    who: str
    payment_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind.value.upper()}: {self.who}, {self.payment_id or 'no payment'}: {self.what}"


def kinds(findings: Iterable[Finding]) -> set[Kind]:
    """Return what is wrong, whoever it is wrong with."""
    return {finding.kind for finding in findings}


def difference(told: bytes, stored: bytes, message: type[Message]) -> str:
    """Return in which fields two serialised messages differ."""
    one, other = message.FromString(told), message.FromString(stored)
    names = [
        field.name
        for field in message.DESCRIPTOR.fields
        if _plain(getattr(one, field.name)) != _plain(getattr(other, field.name))
    ]
    return ", ".join(f"{name} {_short(one, name)} for {_short(other, name)}" for name in names) or "bytes only"


def _plain(value: object) -> object:
    return value if isinstance(value, Message | int | str | bool) else list(value)  # type: ignore[call-overload]


def _short(message: Message, name: str) -> str:
    return " ".join(str(getattr(message, name)).split())[:200] or "nothing"

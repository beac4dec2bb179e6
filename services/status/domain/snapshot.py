"""The rules of a payment's state: what a snapshot holds, which moves are legal, what state it comes to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from services.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unavailable,
)


class State(StrEnum):
    """What a payment has come to. The first ten are also the values of a snapshot's `collection`."""

    INITIALIZED = "INITIALIZED"
    REQUIRES_PAYMENT_METHOD = "REQUIRES_PAYMENT_METHOD"
    SCHEDULED = "SCHEDULED"
    PROCESSING = "PROCESSING"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    AUTHORIZED = "AUTHORIZED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"
    REFUNDED = "REFUNDED"
    DISPUTED = "DISPUTED"
    DISPUTE_LOST = "DISPUTE_LOST"


class Phase(StrEnum):
    """The coarse view of a payment, for readers that do not know a state."""

    COLLECTING = "COLLECTING"
    PROCESSING = "PROCESSING"
    COLLECTED = "COLLECTED"
    ENDED = "ENDED"
    REVERSED = "REVERSED"


class Cause(StrEnum):
    """What caused a transition."""

    STEP = "STEP"
    OBSERVATION = "OBSERVATION"
    OPERATOR = "OPERATOR"


_OUTCOMES: Final = (State.AUTHORIZED, State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED)
_LATE_MONEY: Final = (State.PROCESSING, State.AUTHORIZED, State.SUCCEEDED)

MOVES: Final[Mapping[State, tuple[State, ...]]] = MappingProxyType(
    {
        State.INITIALIZED: (State.REQUIRES_PAYMENT_METHOD, State.SCHEDULED, *_OUTCOMES[1:]),
        State.REQUIRES_PAYMENT_METHOD: (State.SCHEDULED, State.PROCESSING, State.REQUIRES_ACTION, *_OUTCOMES),
        State.SCHEDULED: (State.REQUIRES_PAYMENT_METHOD, State.PROCESSING, State.REQUIRES_ACTION, *_OUTCOMES),
        State.PROCESSING: (State.REQUIRES_PAYMENT_METHOD, State.SCHEDULED, State.REQUIRES_ACTION, *_OUTCOMES),
        State.REQUIRES_ACTION: (State.REQUIRES_PAYMENT_METHOD, State.SCHEDULED, State.PROCESSING, *_OUTCOMES),
        State.AUTHORIZED: (State.PROCESSING, *_OUTCOMES[1:]),
        State.SUCCEEDED: (),
        State.FAILED: _LATE_MONEY,
        State.CANCELED: _LATE_MONEY,
        State.EXPIRED: _LATE_MONEY,
    }
)
"""What each `collection` may become besides itself. An operator moves by the same table: it holds facts, not rights."""

COLLECTIONS: Final = tuple(MOVES)

ENDS: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED})
"""Where collecting comes to its end."""

_STATES_OF: Final = {
    Phase.COLLECTING: (State.INITIALIZED, State.REQUIRES_PAYMENT_METHOD, State.SCHEDULED, State.REQUIRES_ACTION),
    Phase.PROCESSING: (State.PROCESSING,),
    Phase.COLLECTED: (State.AUTHORIZED, State.SUCCEEDED),
    Phase.ENDED: (State.FAILED, State.CANCELED, State.EXPIRED),
    Phase.REVERSED: (State.PARTIALLY_REFUNDED, State.REFUNDED, State.DISPUTED, State.DISPUTE_LOST),
}
PHASES: Final = MappingProxyType({state: phase for phase, states in _STATES_OF.items() for state in states})
"""The phase of each state."""

NEVER_SETTLED: Final = frozenset(State) - ENDS - {State.PARTIALLY_REFUNDED, State.REFUNDED, State.DISPUTE_LOST}
"""States in which something is always awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Amounts in minor units of the payment's currency."""

    authorized_minor: int = 0
    """Held or taken at any time: the largest amount the payer's bank agreed to."""
    capturable_minor: int = 0
    captured_minor: int = 0
    refund_pending_minor: int = 0
    refunded_minor: int = 0
    """Given back; goes down again when a refund fails late."""
    disputed_open_minor: int = 0
    disputed_lost_minor: int = 0
    surplus_minor: int = 0
    """Taken on another attempt and not given back yet; no part of captured, nor its refund of refunded."""

    def contradiction(self) -> str | None:
        """Return what is wrong with the amounts, None if they can be true together.

        Only what cannot happen is refused, since an amount seen at Stripe is a fact. Disputes are not bound by what is
        left: a bank may contest in full what was refunded in part, at another rate of exchange, and several times.
        """
        if (
            min(
                self.authorized_minor,
                self.capturable_minor,
                self.captured_minor,
                self.refund_pending_minor,
                self.refunded_minor,
                self.disputed_open_minor,
                self.disputed_lost_minor,
                self.surplus_minor,
            )
            < 0
        ):
            return "An amount is negative."
        if self.capturable_minor + self.captured_minor > self.authorized_minor:
            return "capturable + captured is more than authorized."
        if self.refunded_minor + self.refund_pending_minor > self.captured_minor:
            return "refunded + refund_pending is more than captured."
        return None


AMOUNTS: Final[tuple[str, ...]] = Amounts.__slots__
"""The names of the amounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentError:
    """What went wrong while collecting."""

    code: str = ""
    decline_code: str = ""
    message: str = ""
    """May be shown to the payer."""
    recoverable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Why a person has to look."""

    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A payment method as it may be shown."""

    payment_method_id: str = ""
    type: str = ""
    brand: str = ""
    last4: str = ""
    expire_month: int = 0
    expire_year: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that is true of a payment at one revision."""

    collection: State
    cause: Cause
    amounts: Amounts = field(default_factory=Amounts)
    last_error: PaymentError | None = None
    attention: Attention | None = None
    reason: str = ""
    method: Method | None = None
    attempt: int = 0
    decline_count: int = 0


def state_of(snapshot: Snapshot) -> State:
    """Return what a payment has come to; the rules are those of `STATE_RULES`, the first that applies."""
    amounts = snapshot.amounts
    if amounts.disputed_open_minor > 0:
        return State.DISPUTED
    if amounts.disputed_lost_minor > 0:
        return State.DISPUTE_LOST
    if amounts.refunded_minor > 0:
        return State.REFUNDED if amounts.refunded_minor == amounts.captured_minor else State.PARTIALLY_REFUNDED
    return snapshot.collection


STATE_RULES: Final = (
    ("disputed_open > 0", "`DISPUTED`"),
    ("disputed_lost > 0", "`DISPUTE_LOST`"),
    ("captured > 0 and refunded = captured", "`REFUNDED`"),
    ("refunded > 0", "`PARTIALLY_REFUNDED`"),
    ("otherwise", "`collection`"),
)
"""`state_of` in words, for the documentation."""


def is_settled(snapshot: Snapshot) -> bool:
    """Return whether nothing more is awaited from payer or Stripe: collecting ended, no refund or dispute is open."""
    amounts = snapshot.amounts
    return snapshot.collection in ENDS and not amounts.refund_pending_minor and not amounts.disputed_open_minor


def legal_from(snapshot: Snapshot, *, total_is_zero: bool) -> tuple[State, ...]:
    """Return each `collection` that may become `snapshot`, by `MOVES`, itself included.

    A payment succeeds without having captured anything only when there was nothing to collect, and only then without
    having asked for a method.
    """
    target = snapshot.collection
    origins = _ORIGINS[target]
    if target is State.SUCCEEDED and not total_is_zero:
        if not snapshot.amounts.captured_minor:
            return ()
        return tuple(origin for origin in origins if origin is not State.INITIALIZED)
    return origins


_ORIGINS: Final = {
    target: tuple(origin for origin in COLLECTIONS if target is origin or target in MOVES[origin])
    for target in COLLECTIONS
}


# Errors.


class PaymentNotFound(NotFound):
    """There is no such payment."""

    reason = "PAYMENT_NOT_FOUND"


class PaymentExists(AlreadyExists):
    """This payment_id was opened with other content; make a new one."""

    reason = "PAYMENT_EXISTS"


class RevisionConflict(Aborted):
    """The payment is not at the expected revision; read it, then decide again."""

    reason = "REVISION_CONFLICT"


class TransitionIllegal(FailedPrecondition):
    """The payment cannot move there from where it stands."""

    reason = "TRANSITION_ILLEGAL"


class AmountsInconsistent(InvalidRequest):
    """The snapshot's amounts cannot be true together."""

    reason = "AMOUNTS_INCONSISTENT"


class RevisionAhead(OutOfRange):
    """The payment has not come to this revision yet; resume after one that you have seen."""

    reason = "REVISION_AHEAD"


class RevisionCompacted(OutOfRange):
    """History after this revision is not kept any more; begin with the payment as it stands."""

    reason = "REVISION_COMPACTED"


class PageTokenInvalid(InvalidRequest):
    """The page token is not one of ours, or belongs to another filter; begin with the first page."""

    reason = "PAGE_TOKEN_INVALID"


class CursorInvalid(InvalidRequest):
    """The cursor is not one of ours, or is ahead of the history; begin with a list and its cursor."""

    reason = "CURSOR_INVALID"


class CursorCompacted(OutOfRange):
    """History after the cursor is not kept any more; begin with a list and its cursor."""

    reason = "CURSOR_COMPACTED"


class TooManyWatches(ResourceExhausted):
    """There are as many watches as there may be; drop one first, or use another stream."""

    reason = "TOO_MANY_WATCHES"


class WatchOverflow(Unavailable):
    """The reader was too slow for this watch; resume it."""

    reason = "WATCH_OVERFLOW"


class StreamTooOld(Unavailable):
    """The stream reached its age; resume it on another."""

    reason = "STREAM_TOO_OLD"


# Documentation.


def render_tables() -> str:
    """Return the table of moves, the state function and the phases as Markdown."""
    moves = [f"| `{origin}` | {_names(targets) or 'nothing'} |" for origin, targets in MOVES.items()]
    rules = [f"| {number} | {condition} | {state} |" for number, (condition, state) in enumerate(STATE_RULES, start=1)]
    phases = [f"| `{phase}` | {_names(states)} |" for phase, states in _STATES_OF.items()]
    return "\n".join(
        (
            "| `collection` | may become, besides itself with other facts |",
            "| --- | --- |",
            *moves,
            "",
            "A success has captured something, or had nothing to collect; only then may it follow `INITIALIZED`.",
            "",
            "| | the first that holds | `state` |",
            "| --- | --- | --- |",
            *rules,
            "",
            "| `phase` | states |",
            "| --- | --- |",
            *phases,
            "",
        )
    )


def _names(states: tuple[State, ...]) -> str:
    return ", ".join(f"`{state}`" for state in states)

"""The rules of a payment's state: what a snapshot holds, which moves are legal, what state it comes to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from services.shared import payment
from services.shared.payment import Amounts, Attention, Method, PaymentError
from services.shared.states import Cause, Phase, State

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

STATES_OF: Final = {
    Phase.COLLECTING: (State.INITIALIZED, State.REQUIRES_PAYMENT_METHOD, State.SCHEDULED, State.REQUIRES_ACTION),
    Phase.PROCESSING: (State.PROCESSING,),
    Phase.COLLECTED: (State.AUTHORIZED, State.SUCCEEDED),
    Phase.ENDED: (State.FAILED, State.CANCELED, State.EXPIRED),
    Phase.REVERSED: (State.PARTIALLY_REFUNDED, State.REFUNDED, State.DISPUTED, State.DISPUTE_LOST),
}
PHASES: Final = MappingProxyType({state: phase for phase, states in STATES_OF.items() for state in states})
"""The phase of each state."""

NEVER_SETTLED: Final = frozenset(State) - ENDS - {State.PARTIALLY_REFUNDED, State.REFUNDED, State.DISPUTE_LOST}
"""States in which something is always awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that is true of a payment at one revision."""

    collection: State
    cause: Cause
    amounts: Amounts = field(default_factory=Amounts)
    last_error: PaymentError | None = None
    attentions: tuple[Attention, ...] = ()
    reason: str = ""
    method: Method | None = None
    attempt: int = 0
    decline_count: int = 0
    charge_time: datetime | None = None
    hold_expire_time: datetime | None = None
    recovery_count: int = 0
    recovered_from: str = ""
    total_minor: int | None = None
    """What is to be collected where it was priced anew since it was opened."""
    quote_id: str = ""


OPENED: Final = Snapshot(collection=State.INITIALIZED, cause=Cause.STEP)
"""What is true of every payment at revision 1."""


def state_of(snapshot: Snapshot) -> State:
    """Return what a payment has come to; the rules are those of `STATE_RULES`, the first that applies."""
    return payment.state_of(snapshot.collection, snapshot.amounts)


STATE_RULES: Final = (
    ("disputed_open > 0", "`DISPUTED`"),
    ("disputed_lost > 0", "`DISPUTE_LOST`"),
    ("captured > 0, refunded = captured and capturable = 0", "`REFUNDED`"),
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

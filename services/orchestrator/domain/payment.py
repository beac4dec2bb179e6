"""What is true of a payment, and what was observed of it at Stripe."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NotRequired, TypedDict

from services.shared.payment import (
    Amounts,
    Attention,
    Method,
    PaymentError,
    StoredPart,
    from_json,
    state_of,
    to_json,
)
from services.shared.states import AttemptKind, AttentionReason, Cause, IntentState, State

NAMESPACE: Final = uuid.UUID("6b4f7c1e-58a3-4c0e-9a53-3b7f0f6d2b11")
"""Of the ids we derive. Never changes: an id that is derived twice must be the same."""

ENDED_WITHOUT_MONEY: Final = frozenset({State.FAILED, State.CANCELED, State.EXPIRED})
TAKEN: Final = frozenset({State.AUTHORIZED, State.SUCCEEDED})
"""Money is there, or held at the bank."""
SUBMITTABLE: Final = frozenset({State.REQUIRES_PAYMENT_METHOD, State.REQUIRES_ACTION})
EXPIRABLE: Final = frozenset({State.REQUIRES_PAYMENT_METHOD, State.REQUIRES_ACTION})
"""Only while it is the payer's turn: a payment that is processing is never cancelled by a clock."""
CANCELABLE: Final = frozenset(
    {
        State.INITIALIZED,
        State.REQUIRES_PAYMENT_METHOD,
        State.SCHEDULED,
        State.REQUIRES_ACTION,
        State.AUTHORIZED,
    }
)
"""Also PROCESSING while nothing was heard of the submit: see `Snapshot.is_cancelable`."""

SUBMITTED: Final = "SUBMITTED"
"""Reason of a payment whose method was submitted and of which nothing was heard since."""
OUTCOME_UNKNOWN: Final = "OUTCOME_UNKNOWN"
"""Reason of a payment while Stripe does not say what became of a call."""
OUTCOME_NOT_RECORDED_YET: Final = "OUTCOME_NOT_RECORDED_YET"
"""Reason of a payment in an answer that was given while status was away; never recorded."""
START_EXPIRED: Final = "START_EXPIRED"
"""Reason of a payment whose start did not come to an intent in time."""
SESSION_EXPIRED: Final = "SESSION_EXPIRED"
"""Reason of a payment whose hosted page ended by itself: it is the payer's turn, on another one."""
SESSION_COMPLETE: Final = "SESSION_COMPLETE"
"""Reason of a payment whose hosted page was used, and whose money did not come: it is the payer's turn, on another."""
ATTEMPT_REPLACED: Final = "ATTEMPT_REPLACED"
"""Reason of a payment whose attempt was cancelled at Stripe, and whose next one is about to be made."""
WITHOUT_ATTEMPT: Final = frozenset({SESSION_EXPIRED, SESSION_COMPLETE, ATTEMPT_REPLACED})
"""Reasons of a payment that waits for its payer, who has nothing to pay with before another attempt is made."""

HOLD_LAPSED: Final = "HOLD_LAPSED"
"""Reason of a payment whose hold ended at Stripe by itself, with nothing captured."""


class StoredSnapshot(TypedDict):
    """A snapshot as it is stored; parts without the fields that have their default."""

    collection: str
    amounts: StoredPart
    last_error: StoredPart | None
    attentions: list[StoredPart]
    cause: str
    reason: str
    method: StoredPart | None
    attempt: int
    decline_count: int
    charge_time: NotRequired[str | None]
    hold_expire_time: NotRequired[str | None]
    recovery_count: NotRequired[int]
    recovered_from: NotRequired[str]
    total_minor: NotRequired[int | None]
    quote_id: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is true of a payment, as its next revision has it."""

    collection: State = State.INITIALIZED
    amounts: Amounts = field(default_factory=Amounts)
    last_error: PaymentError | None = None
    attentions: tuple[Attention, ...] = ()
    """Each reason once: the gateway's first, then ours, the oldest first."""
    cause: Cause = Cause.STEP
    reason: str = ""
    method: Method | None = None
    attempt: int = 0
    decline_count: int = 0
    charge_time: datetime | None = None
    """When a scheduled payment is charged next."""
    hold_expire_time: datetime | None = None
    """When what is held lapses unless it is captured before."""
    recovery_count: int = 0
    """How often it was picked up again."""
    recovered_from: str = ""
    total_minor: int | None = None
    """What is collected, where it was priced anew since the payment was opened."""
    quote_id: str = ""
    """The quote of that."""

    @property
    def state(self) -> State:
        """What the payment has come to, as status says it."""
        return state_of(self.collection, self.amounts)

    @property
    def is_stuck(self) -> bool:
        """Whether it is recorded as stuck."""
        return self.needs(AttentionReason.STUCK)

    def needs(self, reason: AttentionReason) -> bool:
        """Whether an operator is needed for this, too."""
        return any(one.reason == reason for one in self.attentions)

    @property
    def is_unheard(self) -> bool:
        """Whether the newest thing on it is a submit of which nothing was heard."""
        return self.collection is State.PROCESSING and self.reason == SUBMITTED

    @property
    def needs_attempt(self) -> bool:
        """Whether the payer has nothing to pay with before another attempt is made."""
        return self.collection is State.REQUIRES_PAYMENT_METHOD and self.reason in WITHOUT_ATTEMPT

    @property
    def is_cancelable(self) -> bool:
        """Whether a cancel may be tried. The gateway knows whether an unheard submit was sent, and decides."""
        return self.collection in CANCELABLE or self.is_unheard

    def is_cancelable_by(self, *, is_payer: bool) -> bool:
        """Whether a cancel may be tried: what is held is the seller's security, and no payer lets go of it alone."""
        return self.is_cancelable and not (is_payer and self.collection is State.AUTHORIZED)

    def to_json(self) -> StoredSnapshot:
        """Return what `from_json` reads back."""
        return StoredSnapshot(
            collection=self.collection,
            amounts=to_json(self.amounts),
            last_error=to_json(self.last_error),
            attentions=[to_json(one) for one in self.attentions],
            cause=self.cause,
            reason=self.reason,
            method=to_json(self.method),
            attempt=self.attempt,
            decline_count=self.decline_count,
            charge_time=_stored(self.charge_time),
            hold_expire_time=_stored(self.hold_expire_time),
            recovery_count=self.recovery_count,
            recovered_from=self.recovered_from,
            total_minor=self.total_minor,
            quote_id=self.quote_id,
        )

    @classmethod
    def from_json(cls, stored: StoredSnapshot) -> Snapshot:
        """Read what `to_json` wrote; raises for what another version wrote that this one does not know."""
        return cls(
            collection=State(stored["collection"]),
            amounts=from_json(Amounts, stored["amounts"]),
            last_error=from_json(PaymentError, stored["last_error"]),
            attentions=tuple(from_json(Attention, one) for one in stored["attentions"]),
            cause=Cause(stored["cause"]),
            reason=stored["reason"],
            method=from_json(Method, stored["method"]),
            attempt=stored["attempt"],
            decline_count=stored["decline_count"],
            charge_time=_instant(stored.get("charge_time")),
            hold_expire_time=_instant(stored.get("hold_expire_time")),
            recovery_count=stored.get("recovery_count", 0),
            recovered_from=stored.get("recovered_from", ""),
            total_minor=stored.get("total_minor"),
            quote_id=stored.get("quote_id", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the gateway has seen of a payment; the meaning is batzen.gateway.v1.PaymentObservation's."""

    mirror_version: int
    attempt: int
    intent_state: IntentState
    outcome_unknown: bool
    amounts: Amounts
    last_error: PaymentError | None
    method: Method | None
    attentions: tuple[Attention, ...]
    decline_count: int
    attempt_kind: AttemptKind = AttemptKind.INTENT
    is_setup: bool = False
    """It keeps a method; that it succeeded says that the method is kept."""
    hold_expire_time: datetime | None = None
    can_capture_again: bool = False
    hold_lapsed: bool = False
    """What was held was let go by Stripe, since nobody captured it in time."""
    session_expire_time: datetime | None = None
    advice_code: str = ""
    mandate_id: str = ""
    is_held_back: bool = False
    """A warning of fraud or a review is open: nothing is charged or captured by itself."""
    early_fraud_warning: bool = False
    """The card's issuer warns of fraud, and a refund may still avert a dispute."""


def _stored(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored)


def derived_id(payment_id: str, fact: str) -> uuid.UUID:
    """Return the request id of what follows from `fact`: the same whoever derives it, however often."""
    return uuid.uuid5(NAMESPACE, f"{payment_id}/{fact}")

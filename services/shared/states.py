"""The words of a payment's state, with the names that the contracts give them. Stored and compared as these texts."""

from __future__ import annotations

from enum import StrEnum


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
    IMPORT = "IMPORT"
    """It happened in a system before this one, and was imported: nobody is told of it."""


class IntentState(StrEnum):
    """How an intent stands at Stripe."""

    REQUIRES_PAYMENT_METHOD = "REQUIRES_PAYMENT_METHOD"
    REQUIRES_CONFIRMATION = "REQUIRES_CONFIRMATION"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    PROCESSING = "PROCESSING"
    REQUIRES_CAPTURE = "REQUIRES_CAPTURE"
    CANCELED = "CANCELED"
    SUCCEEDED = "SUCCEEDED"


class AttemptKind(StrEnum):
    """What a payer pays an attempt with."""

    INTENT = "INTENT"
    """An intent of ours, made before the payer pays."""
    CHECKOUT_SESSION = "CHECKOUT_SESSION"
    """A page of Stripe's, which makes the intent when the payer pays."""
    SETUP_INTENT = "SETUP_INTENT"
    """An intent of ours that keeps a method, and takes no money."""


class AttentionReason(StrEnum):
    """Why a payment needs an operator."""

    # Observed at Stripe, by the gateway: gone when a newer observation has it no more.
    DISPUTE_DUE = "DISPUTE_DUE"
    DISPUTE_OPEN = "DISPUTE_OPEN"
    INQUIRY_OPEN = "INQUIRY_OPEN"
    REFUND_FAILED = "REFUND_FAILED"
    SURPLUS = "SURPLUS"
    SELLER_OWES = "SELLER_OWES"
    SETTLEMENT_WAITS = "SETTLEMENT_WAITS"
    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"
    EARLY_FRAUD_WARNING = "EARLY_FRAUD_WARNING"
    REVIEW_OPEN = "REVIEW_OPEN"
    EVENT_NOT_HANDLED = "EVENT_NOT_HANDLED"
    DISPUTE_LOST = "DISPUTE_LOST"
    # The orchestrator's own.
    STUCK = "STUCK"
    LATE_MONEY = "LATE_MONEY"
    TRANSITION_REFUSED = "TRANSITION_REFUSED"
    COUPON_OVER_LIMIT = "COUPON_OVER_LIMIT"
    QUOTE_REFUSED = "QUOTE_REFUSED"
    HOLD_LAPSES = "HOLD_LAPSES"
    CHARGE_REFUSED = "CHARGE_REFUSED"

"""What happened that somebody is told. Pure: what is told to whom, and how, is decided by those who take facts.

A fact has an id that is derived from what happened. So it is the same fact, however often it is heard of.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

NAMESPACE: Final = uuid.UUID("0d7c9f0a-61a5-4b47-9f6c-8a5e3c1b7d42")
"""Of the ids of facts. Never changes: what is told twice must be the same."""


class FactKind(StrEnum):
    """What happened."""

    PAYMENT_MOVED = "PAYMENT_MOVED"
    """Another revision was recorded; for systems, no person is told of it."""
    PAYMENT_RECEIVED = "PAYMENT_RECEIVED"
    """Money was taken: the collection came to SUCCEEDED."""
    PAYMENT_FAILED = "PAYMENT_FAILED"
    """No money is taken any more, or the method was declined while its payer is not there."""
    PAYMENT_EXPIRED = "PAYMENT_EXPIRED"
    """It was given up, as its payer did not come back or a hold was not captured in time."""
    ACTION_REQUIRED = "ACTION_REQUIRED"
    """A charge that was made without its payer waits for them."""
    PAYMENT_SCHEDULED = "PAYMENT_SCHEDULED"
    """A method is kept, and is charged at a later time."""
    CHARGE_UPCOMING = "CHARGE_UPCOMING"
    """A kept method is charged soon."""
    PAYMENT_REFUNDED = "PAYMENT_REFUNDED"
    """Money went back, in whole or in part: the refund stands."""
    REFUND_FAILED = "REFUND_FAILED"
    """A refund that stood, or was on its way, did not reach its payer."""
    DISPUTE_OPENED = "DISPUTE_OPENED"
    DISPUTE_CLOSED = "DISPUTE_CLOSED"
    TRANSFER_FAILED = "TRANSFER_FAILED"
    """A seller does not get its part."""
    PAYOUT_FAILED = "PAYOUT_FAILED"
    """What a seller has at Stripe did not reach its bank."""
    ONBOARDING_REQUIRED = "ONBOARDING_REQUIRED"
    """Stripe wants to know something of a seller."""
    ATTENTION_RAISED = "ATTENTION_RAISED"
    """A payment needs an operator for one more reason."""
    ATTENTION_ENDED = "ATTENTION_ENDED"
    """One of the reasons is gone."""


def fact_id(kind: FactKind, *what: str) -> uuid.UUID:
    """Return the id of the fact that `kind` happened to `what`, such as a payment and its revision."""
    return uuid.uuid5(NAMESPACE, "\x1f".join((kind, *what)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened."""

    tenant_id: str
    fact_id: uuid.UUID
    kind: FactKind
    occur_time: datetime
    payment_id: str = ""
    """Empty where it is of no payment."""
    revision: int = 0
    """Of the payment, that said so; 0 where status did not."""
    payer_id: str = ""
    seller_ids: Sequence[str] = ()
    """Whom it concerns: of a dispute or a transfer only those who have a part in it."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What varies, such as `amount_minor`, `currency_code`, `reason`; no personal data. Times are RFC 3339, in UTC."""
    payment: bytes | None = None
    """The payment as batzen.status.v1.Payment, as that revision left it; None where status did not say so."""

"""When a payer may be erased, and what of a payer is kept all the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.gateway.disputes.domain import Standing
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import ON_ITS_WAY, RefundState
from services.gateway.settlement.domain import MovementState
from services.shared.states import IntentState

PAYMENT_IDS_MAX: Final = 10
"""Named in a refusal."""
BOOKS_KEPT: Final = timedelta(days=3_653)
"""Ten years and their leap days: so long have books to be kept in Switzerland (Code of Obligations, article 958f)."""
CONSENTS_KEPT: Final = timedelta(days=400)
"""A payer may contest a debit for 13 months: until then it is shown that they agreed."""

_UNDECIDED: Final = frozenset({Standing.OPEN, Standing.INQUIRY})


class What(StrEnum):
    """What is kept."""

    PAYMENTS = "PAYMENTS"
    CONSENTS = "CONSENTS"
    ERASURE = "ERASURE"
    AT_STRIPE = "AT_STRIPE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Something that is kept of an erased payer."""

    what: What
    why: str
    until: datetime | None
    """None where that is not ours to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What there is of a payer in the tables."""

    last_payment_time: datetime | None
    last_consent_time: datetime | None
    was_customer: bool


def is_money_moving(payment: MirroredPayment) -> bool:
    """Whether anything of a payment may still move: then its payer is needed, by us and at Stripe."""
    return (
        bool(payment.open_calls)
        or any(_may_take(attempt) or _is_contested(attempt) for attempt in payment.intents.values())
        or any(_is_pending(refund.state) for refund in payment.refunds.values())
        or any(movement.state is MovementState.PENDING for movement in payment.movements.values())
    )


def kept(remains: Remains, now: datetime) -> list[Kept]:
    """Return what is kept of a payer who is erased now."""
    found = [
        Kept(
            what=What.ERASURE,
            why="That the payer was erased, when and by whom, under the opaque id.",
            until=now + BOOKS_KEPT,
        )
    ]
    if remains.last_payment_time is not None:
        why = "Books have to be kept: amounts, Stripe's ids, the method's brand and last digits, under opaque ids."
        found.append(Kept(what=What.PAYMENTS, why=why, until=remains.last_payment_time + BOOKS_KEPT))
    if remains.last_consent_time is not None:
        why = "A debit may be contested for 13 months: who agreed to keep which method, by opaque ids, and when."
        found.append(Kept(what=What.CONSENTS, why=why, until=remains.last_consent_time + CONSENTS_KEPT))
    if remains.was_customer:
        why = "Stripe keeps what it has to by law of charges and disputes; it says for how long."
        found.append(Kept(what=What.AT_STRIPE, why=why, until=None))
    return found


def _may_take(attempt: Intent) -> bool:
    """Whether an attempt may still take money, holds some, or is followed by a charge of the method that it kept."""
    if attempt.needs_method_id or attempt.claims_method_id or attempt.capturable_minor:
        return True
    return not (attempt.is_over or attempt.state is IntentState.SUCCEEDED)


def _is_contested(attempt: Intent) -> bool:
    if attempt.disputed and not attempt.disputes:
        return True  # how was not read yet
    return any(dispute.standing in _UNDECIDED for dispute in attempt.disputes)


def _is_pending(state: RefundState) -> bool:
    return state in ON_ITS_WAY and state is not RefundState.SUCCEEDED

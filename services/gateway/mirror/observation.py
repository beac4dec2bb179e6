"""What is true of a payment at Stripe, given what was last known of its intents and refunds. Pure.

The attempt that counts is the first that took or holds money, else the latest. What another attempt took is surplus:
booked, never dropped, and an operator is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from services.gateway.disputes.domain import UNREAD, Standing, total_minor
from services.gateway.intents.domain import FRAUD_WARNING, REVIEW, Intent, SessionState
from services.gateway.mirror.attention import by_reason
from services.gateway.refunds.domain import Refund, given_back_minor, owed_minor, undecided_minor
from services.gateway.settlement.domain import Movement
from services.gateway.settlement.standings import SellerStanding, standings
from services.shared.amounts import written
from services.shared.payment import Amounts, Attention, Method, PaymentError
from services.shared.states import AttemptKind, AttentionReason, IntentState


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that is known of a payment at Stripe at one moment."""

    payment_id: str
    mirror_version: int = 0
    observe_time: datetime | None = None
    """When this version was saved; None before the first."""
    attempt: int = 0
    intent_state: IntentState = IntentState.REQUIRES_PAYMENT_METHOD
    outcome_unknown: bool = False
    amounts: Amounts = field(default_factory=Amounts)
    last_error: PaymentError | None = None
    method: Method | None = None
    attentions: tuple[Attention, ...] = ()
    """What needs an operator, each reason once, the most urgent first."""
    decline_count: int = 0
    attempt_kind: AttemptKind = AttemptKind.INTENT
    is_setup: bool = False
    hold_expire_time: datetime | None = None
    can_capture_again: bool = False
    hold_lapsed: bool = False
    session_expire_time: datetime | None = None
    advice_code: str = ""
    mandate_id: str = ""
    is_held_back: bool = False
    """The card's issuer warns of fraud, or a review is open: nothing of it is captured, charged or paid to sellers."""
    early_fraud_warning: bool = False
    sellers: tuple[SellerStanding, ...] = ()
    """How the sellers of the attempt that counts stand; empty while nothing was captured."""

    @property
    def refundable_minor(self) -> int:
        """What can still be given back, never below zero."""
        return self.amounts.refundable_minor


def conclude(
    before: Observation,
    intents: Sequence[Intent],
    refunds: Sequence[Refund],
    *,
    currency_code: str,
    concerns: Sequence[Attention] = (),
    movements: Sequence[Movement] = (),
    outcome_unknown: bool = False,
) -> Observation:
    """Return what is known now; its version is one higher than before if it says anything else than before.

    `concerns` are what else needs an operator.
    `outcome_unknown`: a call on an intent has no answer yet. An intent that has ended is not changed by such a call.
    """
    made = [intent for intent in sorted(intents, key=lambda intent: intent.attempt) if intent.is_made]
    if not made:
        return before
    counting = _counting(made, before)
    surplus_minor = sum(_left_minor(intent, refunds) for intent in made if intent is not counting)
    held_minor = counting.captured_minor + counting.capturable_minor
    held_beside_minor = sum(intent.capturable_minor for intent in made if intent is not counting)
    last_error = None if counting.state == IntentState.SUCCEEDED else counting.error
    sellers = standings(before.payment_id, counting, refunds, movements)
    waiting = [concern for one in sellers if (concern := one.attention(currency_code)) is not None]
    noticed = [event_type for intent in made for _, event_type in intent.notices]
    after = Observation(
        payment_id=before.payment_id,
        mirror_version=before.mirror_version,
        observe_time=before.observe_time,
        attempt=counting.attempt,
        intent_state=counting.state,
        outcome_unknown=outcome_unknown and counting.state not in (IntentState.SUCCEEDED, IntentState.CANCELED),
        amounts=Amounts(
            authorized_minor=max(held_minor, before.amounts.authorized_minor),
            capturable_minor=counting.capturable_minor,
            captured_minor=counting.captured_minor,
            refund_pending_minor=undecided_minor(refunds, counting.attempt),
            refunded_minor=given_back_minor(refunds, counting.attempt),
            disputed_open_minor=total_minor(counting.disputes, Standing.OPEN),
            disputed_lost_minor=total_minor(counting.disputes, Standing.LOST),
            surplus_minor=surplus_minor,
        ),
        last_error=last_error,
        method=counting.method,
        attentions=by_reason(
            (
                *_concerns(made),
                *_amiss(refunds, currency_code, surplus_minor=surplus_minor, held_beside_minor=held_beside_minor),
                *concerns,
                *waiting,
            )
        ),
        decline_count=sum(intent.decline_count for intent in made),
        attempt_kind=counting.kind,
        is_setup=counting.is_setup,
        hold_expire_time=counting.hold.expire_time if counting.hold is not None else None,
        can_capture_again=counting.hold is not None and counting.hold.can_capture_again,
        hold_lapsed=counting.hold_lapsed,
        session_expire_time=counting.session_expire_time if counting.session_state == SessionState.OPEN else None,
        advice_code=counting.advice_code if last_error is not None else "",
        mandate_id=next((intent.mandate_id for intent in reversed(made) if intent.mandate_id), ""),
        is_held_back=any(intent.is_doubted for intent in made),
        early_fraud_warning=any(each.startswith(FRAUD_WARNING) for each in noticed),
        sellers=sellers,
    )
    return after if after == before else replace(after, mirror_version=before.mirror_version + 1)


def _counting(intents: Sequence[Intent], before: Observation) -> Intent:
    """Return the attempt that counts: one that took money over one that holds it, and then the one that did already."""
    took = [intent for intent in intents if intent.captured_minor]
    holds = took or [intent for intent in intents if intent.capturable_minor]
    counted = [intent for intent in holds if intent.attempt == before.attempt]
    return (counted or holds or [intents[-1]])[0]


def _left_minor(intent: Intent, refunds: Sequence[Refund]) -> int:
    """Return what the platform still has of what an attempt took."""
    contested = (total_minor(intent.disputes, standing) for standing in (Standing.OPEN, Standing.LOST))
    return max(0, intent.captured_minor - given_back_minor(refunds, intent.attempt) - sum(contested))


def left_minor(intent: Intent, refunds: Sequence[Refund]) -> int:
    """Return what can still be given back of what an attempt took."""
    return max(0, _left_minor(intent, refunds) - undecided_minor(refunds, intent.attempt))


def _concerns(intents: Sequence[Intent]) -> Iterator[Attention]:
    """Yield what of the attempts needs an operator."""
    for intent in intents:
        for dispute in intent.disputes:
            concern = dispute.attention()
            if concern is not None:
                yield concern
        if intent.disputed and not intent.disputes:
            yield UNREAD
        if intent.mismatch:
            yield Attention(reason=AttentionReason.AMOUNT_MISMATCH, detail=intent.mismatch)
        for object_id, event_type in intent.notices:
            yield _decision(object_id, event_type)


def _amiss(
    refunds: Sequence[Refund], currency_code: str, *, surplus_minor: int, held_beside_minor: int
) -> Iterator[Attention]:
    """Yield what money is where it is not to be."""

    def amount(minor: int) -> str:
        return written(minor, currency_code)

    if (unpaid_minor := owed_minor(refunds)) > 0:
        which = ", ".join(f"{one.refund_id} ({amount(one.amount_minor)})" for one in refunds if one.is_returned)
        detail = f"The payer did not get {amount(unpaid_minor)}, on its way back; failed: {which}."
        yield Attention(reason=AttentionReason.REFUND_FAILED, detail=detail)
    if surplus_minor > 0:
        detail = f"{amount(surplus_minor)} was taken on another attempt."
        yield Attention(reason=AttentionReason.SURPLUS, detail=detail)
    if held_beside_minor > 0:
        detail = f"{amount(held_beside_minor)} is held on another attempt; release it at Stripe."
        yield Attention(reason=AttentionReason.SURPLUS, detail=detail)


def _decision(object_id: str, event_type: str) -> Attention:
    """Return what an operator is to decide after an event."""
    if event_type.startswith(FRAUD_WARNING):
        detail = f"The card's issuer warns of fraud ({object_id}); refund it before it is disputed, or let it be."
        return Attention(reason=AttentionReason.EARLY_FRAUD_WARNING, detail=detail)
    if event_type.startswith(REVIEW):
        return Attention(reason=AttentionReason.REVIEW_OPEN, detail=f"A review is open at Stripe ({object_id}).")
    detail = f"Stripe says {event_type} ({object_id}), about which nothing is done here."
    return Attention(reason=AttentionReason.EVENT_NOT_HANDLED, detail=detail)


def next_version(before: int, now: datetime) -> int:
    """Return the version of an observation that is kept now: above all that were ever given to this payment.

    That is the time in microseconds, or one more than before where a clock says less. A database that was restored to
    an earlier moment has forgotten versions; the time has not.
    """
    return max(before + 1, int(now.timestamp() * 1_000_000))

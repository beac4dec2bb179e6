"""Snapshot → snapshot: what is true of a payment after each step of ours, and after each observation at Stripe."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.orchestrator.domain.payment import (
    ATTEMPT_REPLACED,
    ENDED_WITHOUT_MONEY,
    HOLD_LAPSED,
    OUTCOME_UNKNOWN,
    SESSION_COMPLETE,
    SESSION_EXPIRED,
    START_EXPIRED,
    SUBMITTED,
    Observation,
    Snapshot,
)
from services.orchestrator.domain.quote import OVER_LIMIT
from services.shared.payment import Attention, PaymentError
from services.shared.states import AttemptKind, AttentionReason, Cause, IntentState, State

COLLECTION_OF_INTENT: Final = {
    IntentState.REQUIRES_PAYMENT_METHOD: State.REQUIRES_PAYMENT_METHOD,
    IntentState.REQUIRES_CONFIRMATION: State.REQUIRES_PAYMENT_METHOD,
    IntentState.REQUIRES_ACTION: State.REQUIRES_ACTION,
    IntentState.PROCESSING: State.PROCESSING,
    IntentState.REQUIRES_CAPTURE: State.AUTHORIZED,
    IntentState.CANCELED: State.CANCELED,
    IntentState.SUCCEEDED: State.SUCCEEDED,
}
"""How an intent stands at Stripe → how far the collection has come."""

UNTIL_IT_MOVES: Final = frozenset({AttentionReason.STUCK})
UNTIL_NOTHING_IS_HELD: Final = frozenset({AttentionReason.HOLD_LAPSES})
UNTIL_RESOLVED: Final = frozenset(
    {
        AttentionReason.LATE_MONEY,
        AttentionReason.TRANSITION_REFUSED,
        AttentionReason.COUPON_OVER_LIMIT,
        AttentionReason.QUOTE_REFUSED,
        AttentionReason.CHARGE_REFUSED,
    }
)
"""Our own reasons for attention, by how long each stands: until the payment moves by itself again, until nothing is
held any more, or until an operator has resolved it. Every other reason is the gateway's, and stands as long as its
newest observation gives it."""
OURS: Final = UNTIL_IT_MOVES | UNTIL_NOTHING_IS_HELD | UNTIL_RESOLVED


def observed(
    before: Snapshot,
    observation: Observation,
    *,
    cancel_outcome: State | None,
    collection: State | None = None,
    charge_time: datetime | None = None,
) -> Snapshot:
    """Return what is true after `observation`; with `collection` that is how far its plan of charges says it has come.

    `cancel_outcome` is what a cancelled intent means when the cancelling was ours: CANCELED, EXPIRED or FAILED, or
    REQUIRES_PAYMENT_METHOD where another attempt takes its place. A hold that lapsed is EXPIRED, whoever tried to
    cancel it. A hosted page that ended without us does not end the payment: it is the payer's turn, on another one.
    What is paid stays paid: only the amounts move then. Money that comes after the payment ended without money is
    applied, and needs an operator. The gateway's own attention goes when the observation does not have it.
    """
    collection = collection or _collection_of(observation)
    last_error, reason = _error(before, observation, collection), ""
    ours = OURS if observation.amounts.capturable_minor else OURS - UNTIL_NOTHING_IS_HELD
    kept = tuple(one for one in moving(before).attentions if one.reason in ours)
    attentions = (*observation.attentions, *kept)
    if before.collection is State.SUCCEEDED:
        collection = State.SUCCEEDED
    elif observation.outcome_unknown:
        collection, reason = State.PROCESSING, OUTCOME_UNKNOWN
        if before.collection in ENDED_WITHOUT_MONEY:
            collection, reason = before.collection, before.reason
    elif collection is State.CANCELED:
        collection, reason = _after_cancel(before, observation, cancel_outcome)
        last_error = last_error or before.last_error
    elif before.collection in ENDED_WITHOUT_MONEY:
        if collection in (State.SUCCEEDED, State.AUTHORIZED, State.PROCESSING):
            late = f"Money came after the payment was {before.collection}."
            attentions = _with(attentions, Attention(reason=AttentionReason.LATE_MONEY, detail=late))
        else:
            collection = before.collection
    elif collection is State.REQUIRES_PAYMENT_METHOD and _is_used_page(observation):
        reason = SESSION_COMPLETE
    if collection is State.FAILED and last_error is not None:
        last_error = replace(last_error, recoverable=False)
    return Snapshot(
        collection=collection,
        amounts=observation.amounts,
        last_error=None if collection is State.SUCCEEDED else last_error,
        attentions=attentions,
        cause=Cause.OBSERVATION,
        reason=reason,
        method=observation.method or before.method,
        attempt=observation.attempt,
        decline_count=observation.decline_count,
        charge_time=charge_time if collection is State.SCHEDULED else None,
        hold_expire_time=observation.hold_expire_time,
        recovery_count=before.recovery_count,
        recovered_from=before.recovered_from,
        total_minor=before.total_minor,
        quote_id=before.quote_id,
    )


def _after_cancel(before: Snapshot, observation: Observation, cancel_outcome: State | None) -> tuple[State, str]:
    """Return where the collection stands once its attempt is over without money, and why."""
    if before.collection in ENDED_WITHOUT_MONEY:
        return before.collection, before.reason
    if observation.hold_lapsed:
        return State.EXPIRED, HOLD_LAPSED
    if cancel_outcome is State.REQUIRES_PAYMENT_METHOD:
        return cancel_outcome, ATTEMPT_REPLACED
    if cancel_outcome is None and _is_page(observation) and not observation.amounts.authorized_minor:
        return State.REQUIRES_PAYMENT_METHOD, SESSION_EXPIRED
    return cancel_outcome if cancel_outcome in ENDED_WITHOUT_MONEY else State.CANCELED, ""


def _is_page(observation: Observation) -> bool:
    return observation.attempt_kind is AttemptKind.CHECKOUT_SESSION


def _is_used_page(observation: Observation) -> bool:
    """Whether it is a hosted page on which nobody can pay any more: what was paid there did not come in the end."""
    return _is_page(observation) and observation.session_expire_time is None


def _error(before: Snapshot, observation: Observation, collection: State) -> PaymentError | None:
    """Return what went wrong last; between two tries of a plan that stands, also where Stripe saw nothing of it."""
    is_between = collection is State.SCHEDULED is before.collection
    return observation.last_error or (before.last_error if is_between else None)


def _collection_of(observation: Observation) -> State:
    """Return how far the collection has come by how the attempt stands: a setup keeps a method to be charged later."""
    if observation.is_setup and observation.intent_state is IntentState.SUCCEEDED:
        return State.SCHEDULED
    if observation.intent_state is IntentState.CANCELED and observation.amounts.captured_minor:
        return State.SUCCEEDED  # what was left of a hold was let go, and a part was captured before
    return COLLECTION_OF_INTENT[observation.intent_state]


def opened(before: Snapshot, *, attempt: int) -> Snapshot:
    """Return what is true once there is an intent that waits for a method."""
    return replace(_step(before, State.REQUIRES_PAYMENT_METHOD), attempt=attempt)


def submitted(before: Snapshot) -> Snapshot:
    """Return what is true once a method was submitted and before anything was heard of it."""
    return replace(_step(before, State.PROCESSING, reason=SUBMITTED), last_error=None)


def submitted_changes() -> dict[str, object]:
    """Return what `submitted` changes of the stored snapshot of a payment that needs nobody's attention."""
    stored = submitted(Snapshot()).to_json()
    return {
        "collection": stored["collection"],
        "reason": stored["reason"],
        "last_error": stored["last_error"],
        "cause": stored["cause"],
    }


def refused(before: Snapshot, code: str) -> Snapshot:
    """Return what is true when nothing can be collected, for good; `code` says why."""
    error = PaymentError(code=code, message="This payment could not be set up.", recoverable=False)
    return replace(_step(before, State.FAILED), last_error=error)


def canceled(before: Snapshot, cancel_outcome: State) -> Snapshot:
    """Return what is true of a payment that ends while it has no attempt that could take money."""
    return replace(_step(before, cancel_outcome), cause=Cause.OBSERVATION)


def resumed(before: Snapshot, *, recovered_from: str) -> Snapshot:
    """Return what is true when its payer picks a payment up again that was interrupted."""
    return replace(
        moving(before), recovery_count=before.recovery_count + 1, recovered_from=recovered_from, cause=Cause.STEP
    )


def priced_anew(before: Snapshot, *, total_minor: int, quote_id: str) -> Snapshot:
    """Return what is true when a payment costs what another quote says."""
    return replace(moving(before), total_minor=total_minor, quote_id=quote_id, cause=Cause.STEP)


def start_expired(before: Snapshot) -> Snapshot:
    """Return what is true when a start came to nothing in time, and never will."""
    return _step(before, State.EXPIRED, reason=START_EXPIRED)


def method_refused(before: Snapshot, code: str) -> Snapshot:
    """Return what is true when Stripe did not take the method itself: the payer's turn again, with another one."""
    error = PaymentError(code=code, message="This payment method cannot be used. Choose another.", recoverable=True)
    return replace(_step(before, State.REQUIRES_PAYMENT_METHOD), last_error=error)


def rescheduled(before: Snapshot, charge_time: datetime) -> Snapshot:
    """Return what is true when a charge is planned for another time."""
    return replace(moving(before), charge_time=charge_time)


def charging(before: Snapshot, *, attempt: int) -> Snapshot:
    """Return what is true once a charge without the payer was begun and before anything was heard of it."""
    attentions = tuple(one for one in before.attentions if one.reason != AttentionReason.CHARGE_REFUSED)
    return replace(submitted(before), attempt=attempt, charge_time=None, attentions=attentions)


def charge_refused(before: Snapshot, code: str, *, charge_time: datetime | None) -> Snapshot:
    """Return what is true when a charge was refused that says nothing of the payer's method: an operator is needed.

    It is tried again at `charge_time`, if at all.
    """
    error = PaymentError(code=code, message="This payment could not be taken yet.", recoverable=True)
    after = "It is tried again by its plan." if charge_time else "It is not tried again."
    attention = Attention(reason=AttentionReason.CHARGE_REFUSED, detail=f"The charge was refused: {code}. {after}")
    scheduled = replace(_step(before, State.SCHEDULED), last_error=error, charge_time=charge_time)
    return replace(scheduled, attentions=_with(scheduled.attentions, attention))


def submit_expired(before: Snapshot) -> Snapshot:
    """Return what is true when a submit was given up that never reached Stripe: the payer's turn again."""
    message = "Your payment could not be sent in time, and nothing was charged. Please pay again."
    error = PaymentError(code="submit_expired", message=message, recoverable=True)
    return replace(_step(before, State.REQUIRES_PAYMENT_METHOD), last_error=error)


def paid_nothing(before: Snapshot) -> Snapshot:
    """Return what is true of a payment over a total of zero: it succeeds without anybody being asked."""
    return _step(before, State.SUCCEEDED, reason="NOTHING_TO_PAY")


def parked(before: Snapshot, attention: Attention) -> Snapshot:
    """Return what is true when an operator is needed, too for this."""
    return replace(before, attentions=_with(before.attentions, attention), cause=Cause.STEP)


def resolved(before: Snapshot, reasons: Collection[str]) -> Snapshot:
    """Return what is true when an operator has taken off what needed one for `reasons`."""
    kept = tuple(one for one in before.attentions if one.reason not in reasons)
    return replace(before, attentions=kept, cause=Cause.OPERATOR)


def moving(before: Snapshot) -> Snapshot:
    """Return what is true when the payment moves again: what stood only until then is gone."""
    kept = tuple(one for one in before.attentions if one.reason not in UNTIL_IT_MOVES)
    return replace(before, attentions=kept, cause=Cause.STEP)


def _step(before: Snapshot, collection: State, *, reason: str = "") -> Snapshot:
    return replace(moving(before), collection=collection, reason=reason)


def _with(attentions: tuple[Attention, ...], new: Attention) -> tuple[Attention, ...]:
    """Return the attentions with a new one, which takes the place of an older one of its reason."""
    if any(one.reason == new.reason for one in attentions):
        return tuple(new if one.reason == new.reason else one for one in attentions)
    return (*attentions, new)


def hold_lapses(before: Snapshot) -> Snapshot:
    """Return what is true when a hold is about to lapse that nobody is going to capture: an operator is needed."""
    end = f"{before.hold_expire_time:%Y-%m-%d %H:%M} UTC" if before.hold_expire_time else "soon"
    detail = f"What is held lapses {end}, and nobody captures it."
    return parked(before, Attention(reason=AttentionReason.HOLD_LAPSES, detail=detail))


def quote_problem(before: Snapshot, problem: str) -> Snapshot:
    """Return what is true when pricing answered with what needs an operator, beside what needs one already.

    `problem` is OVER_LIMIT, or the reason for which pricing refuses the quote's end.
    """
    if problem == OVER_LIMIT:
        new = Attention(reason=AttentionReason.COUPON_OVER_LIMIT, detail="The payment used a coupon beyond its limit.")
    else:
        new = Attention(
            reason=AttentionReason.QUOTE_REFUSED, detail=f"Pricing does not take the end of the quote: {problem}."
        )
    return parked(before, new)


def has_changed(before: Snapshot, after: Snapshot) -> bool:
    """Whether the two differ in more than what caused them."""
    return replace(after, cause=before.cause) != before

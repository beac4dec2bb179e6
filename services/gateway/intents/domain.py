"""Rules of one attempt's intent: what Stripe's object changes of it, and whether a snapshot shows anything new. Pure.

An attempt is one intent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.gateway.disputes.domain import Dispute, Standing
from services.shared.payment import Method, PaymentError
from services.shared.states import IntentState

RANK: Final = {
    IntentState.REQUIRES_PAYMENT_METHOD: 0,
    IntentState.REQUIRES_CONFIRMATION: 1,
    IntentState.REQUIRES_ACTION: 2,
    IntentState.PROCESSING: 3,
    IntentState.REQUIRES_CAPTURE: 4,
    IntentState.CANCELED: 5,
    IntentState.SUCCEEDED: 5,
}
"""A move to a higher rank is an advance. An intent may move down, too, which only a reading can tell."""

NEVER_BACK: Final = frozenset({IntentState.REQUIRES_CAPTURE, IntentState.CANCELED, IntentState.SUCCEEDED})
"""An intent that was here never asks for a method again."""

CONFIRMABLE: Final = frozenset(
    {IntentState.REQUIRES_PAYMENT_METHOD, IntentState.REQUIRES_CONFIRMATION, IntentState.REQUIRES_ACTION}
)
CANCELABLE: Final = CONFIRMABLE | {IntentState.REQUIRES_CAPTURE}

NOTICES_MAX: Final = 10
"""Of one attempt: events that nothing is done about. The oldest gives way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentFacts:
    """One PaymentIntent as Stripe showed it, in ISO minor units."""

    intent_id: str
    state: IntentState
    amount_minor: int
    currency_code: str
    captured_minor: int
    capturable_minor: int
    charge_id: str = ""
    refunded_minor: int = 0
    """What its charge says was given back, refunds on their way included."""
    disputed: bool | None = None
    """None where the charge itself was not shown."""
    error: PaymentError | None = None
    error_mark: str = ""
    """Tells one decline from the next: the charge that failed, or what failed to authenticate."""
    method: Method | None = None
    """Without a `type` where only its id was shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One attempt, as last seen."""

    attempt: int
    amount_minor: int
    application_fee_minor: int
    create_time: datetime
    """When we asked for it."""
    intent_id: str = ""
    """Empty while the call that creates it is not answered."""
    state: IntentState = IntentState.REQUIRES_PAYMENT_METHOD
    captured_minor: int = 0
    capturable_minor: int = 0
    charge_id: str = ""
    refunded_at_stripe_minor: int = 0
    disputed: bool = False
    error: PaymentError | None = None
    error_mark: str = ""
    method: Method | None = None
    decline_count: int = 0
    mismatch: str = ""
    """What Stripe's answer says differently from what was asked; empty when nothing."""
    disputes: tuple[Dispute, ...] = ()
    """Of its charge; empty also while `disputed` is all that was shown."""
    notices: tuple[tuple[str, str], ...] = ()
    """Events about it that nothing is done about: an object's id and the type of the last event around it."""

    @property
    def may_be_refunded(self) -> bool:
        """Whether no dispute is known to stand in the way of a refund."""
        if not self.disputes:
            return not self.disputed
        undecided = (one for one in self.disputes if one.standing in (Standing.OPEN, Standing.INQUIRY))
        return all(one.is_charge_refundable for one in undecided)


def noticed(before: Intent, object_id: str, event_type: str, *, is_over: bool) -> Intent:
    """Return the attempt after an event that nothing is done about, or after what that was about is over."""
    others = tuple(one for one in before.notices if one[0] != object_id)
    notices = others if is_over else (*others, (object_id, event_type))
    return replace(before, notices=notices[-NOTICES_MAX:])


def apply(before: Intent, facts: IntentFacts, *, currency_code: str) -> Intent:
    """Return the attempt after its intent was seen; a decline that was not seen before is counted."""
    declined = facts.error is not None and facts.error_mark not in ("", before.error_mark)
    mismatch = ""
    if (facts.amount_minor, facts.currency_code) != (before.amount_minor, currency_code):
        mismatch = (
            f"Asked for {before.amount_minor} {currency_code}, Stripe has {facts.amount_minor} {facts.currency_code}."
        )
    return replace(
        before,
        intent_id=facts.intent_id,
        state=facts.state,
        captured_minor=facts.captured_minor,
        capturable_minor=facts.capturable_minor,
        charge_id=facts.charge_id or before.charge_id,
        refunded_at_stripe_minor=max(facts.refunded_minor, before.refunded_at_stripe_minor),
        disputed=before.disputed if facts.disputed is None else facts.disputed,
        error=facts.error,
        error_mark=facts.error_mark,  # a new confirm clears it, so that the same card may fail a second time
        method=facts.method if facts.method is not None and not _is_known(before, facts.method) else before.method,
        decline_count=before.decline_count + declined,
        mismatch=mismatch,
    )


def advances(before: Intent, facts: IntentFacts) -> bool:
    """Whether a snapshot only takes the intent further, so that it may be applied without a reading.

    A snapshot says what was true when it was made. From a state that an intent never leaves backwards it says enough;
    any other could be older than a decline seen since, unless nothing at all was seen since the intent was made.
    """
    return (
        RANK[facts.state] > RANK[before.state]
        and (facts.state in NEVER_BACK or _is_untouched(before))
        and facts.amount_minor == before.amount_minor
        and facts.captured_minor >= before.captured_minor
        # What was paid with is shown in full by a reading only.
        and (facts.method is None or facts.method.type != "" or _is_known(before, facts.method))
    )


def is_current(before: Intent, facts: IntentFacts) -> bool:
    """Whether a snapshot shows the intent as it was last seen."""
    return (
        facts.state == before.state
        and facts.amount_minor == before.amount_minor
        and (facts.method is None or (before.method is not None and _same_method(before.method, facts.method)))
        and facts.captured_minor == before.captured_minor
        and facts.capturable_minor == before.capturable_minor
        and facts.error_mark in ("", before.error_mark)
        and facts.refunded_minor <= before.refunded_at_stripe_minor
    )


def _is_known(before: Intent, method: Method) -> bool:
    """Whether `method` is only the id of the one that was seen in full."""
    return before.method is not None and not method.type and _same_method(before.method, method)


def _same_method(one: Method, other: Method) -> bool:
    return one.payment_method_id == other.payment_method_id


def _is_untouched(intent: Intent) -> bool:
    return intent.state == IntentState.REQUIRES_PAYMENT_METHOD and not intent.error_mark and not intent.charge_id

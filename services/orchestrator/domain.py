"""Rules of the command side: what a payment has come to, given what we asked for and what was seen at Stripe. Pure.

Knows neither protobuf nor SQL nor clocks. The table of legal moves belongs to status; here stands what each
observation and each step means.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.errors import FailedPrecondition, InvalidRequest, NotFound, ServiceError

DECLINES_MAX: Final = 10
"""Declines over all methods after which a payment is given up: more tries are how stolen cards are tested."""
ABANDONED_AFTER: Final = timedelta(hours=24)
"""How long an unfinished payment waits for a sign of life of its payer, unless a setting says otherwise."""
DEBIT_FAILS_AFTER_MAX: Final = timedelta(days=30)
"""The slowest debits say after up to 14 business days that they failed; then it is the payer's turn once more."""
SUBMIT_AGE_MAX: Final = timedelta(minutes=5)
"""How old a submit may be when it is first sent to Stripe. Who submitted it looks at the page for seconds, not for
minutes; later they have paid otherwise, or given up, and a charge would be one that nobody expects."""
AGE_MAX: Final = {"SubmitPayment": SUBMIT_AGE_MAX}
"""How old requests may be when they are first sent to Stripe, by method. Cancels and refunds go ahead at any age: they
take no money, and who asked for them relies on them."""
START_AGE_MAX: Final = timedelta(minutes=15)
"""How old a start may be when its intent is first asked for. No caller waits for longer than seconds, or repeats a
start for longer than minutes; an intent that is made after that is made for nobody."""

LEASE: Final = timedelta(seconds=3)
"""How long a payment stays with whoever moves it. Renewed while the work runs, so it bounds the wait after a crash."""
RETRY_FIRST: Final = timedelta(milliseconds=500)
RETRY_MAX: Final = timedelta(minutes=1)
"""Also how long after an outage the last of what waited for its end is tried."""
PARKED_AFTER_TRIES: Final = 20
"""Tries in a row, about 15 minutes, after which an operator is needed; the tries go on at `RETRY_MAX`."""
LOOK_AGAIN_AFTER: Final = timedelta(hours=1)
"""How often a payment is read again at Stripe that should long have come to an end there."""

NAMESPACE: Final = uuid.UUID("6b4f7c1e-58a3-4c0e-9a53-3b7f0f6d2b11")
"""Of the ids we derive. Never changes: an id that is derived twice must be the same."""

INITIALIZED: Final = "INITIALIZED"
REQUIRES_PAYMENT_METHOD: Final = "REQUIRES_PAYMENT_METHOD"
PROCESSING: Final = "PROCESSING"
REQUIRES_ACTION: Final = "REQUIRES_ACTION"
AUTHORIZED: Final = "AUTHORIZED"
SUCCEEDED: Final = "SUCCEEDED"
FAILED: Final = "FAILED"
CANCELED: Final = "CANCELED"
EXPIRED: Final = "EXPIRED"

ENDED_WITHOUT_MONEY: Final = frozenset({FAILED, CANCELED, EXPIRED})
TAKEN: Final = frozenset({AUTHORIZED, SUCCEEDED})
"""Money is there, or held at the bank: the price was charged."""
SUBMITTABLE: Final = frozenset({REQUIRES_PAYMENT_METHOD, REQUIRES_ACTION})
EXPIRABLE: Final = frozenset({REQUIRES_PAYMENT_METHOD, REQUIRES_ACTION})
"""Only while it is the payer's turn: what is processing is never called off by a clock."""
CANCELABLE: Final = frozenset({INITIALIZED, REQUIRES_PAYMENT_METHOD, REQUIRES_ACTION, AUTHORIZED})
"""Also PROCESSING while nothing was heard of the submit: see `is_cancelable`."""

COLLECTION_OF_INTENT: Final = {
    "REQUIRES_PAYMENT_METHOD": REQUIRES_PAYMENT_METHOD,
    "REQUIRES_CONFIRMATION": REQUIRES_PAYMENT_METHOD,
    "REQUIRES_ACTION": REQUIRES_ACTION,
    "PROCESSING": PROCESSING,
    "REQUIRES_CAPTURE": AUTHORIZED,
    "CANCELED": CANCELED,
    "SUCCEEDED": SUCCEEDED,
}
"""How an intent stands at Stripe → how far the collection has come."""

SUBMITTED: Final = "SUBMITTED"
"""Reason of a payment whose method was submitted and of which nothing was heard since."""
OUTCOME_UNKNOWN: Final = "OUTCOME_UNKNOWN"
"""Reason of a payment while Stripe does not say what became of a call."""
START_EXPIRED: Final = "START_EXPIRED"
"""Reason of a payment whose start did not come to an intent in time."""

STUCK: Final = "STUCK"
LATE_MONEY: Final = "LATE_MONEY"
TRANSITION_REFUSED: Final = "TRANSITION_REFUSED"
COUPON_OVER_LIMIT: Final = "COUPON_OVER_LIMIT"
QUOTE_REFUSED: Final = "QUOTE_REFUSED"
UNTIL_IT_MOVES: Final = "UNTIL_IT_MOVES"
UNTIL_RESOLVED: Final = "UNTIL_RESOLVED"
ATTENTION_STANDS: Final = {
    STUCK: UNTIL_IT_MOVES,
    LATE_MONEY: UNTIL_RESOLVED,
    TRANSITION_REFUSED: UNTIL_RESOLVED,
    COUPON_OVER_LIMIT: UNTIL_RESOLVED,
    QUOTE_REFUSED: UNTIL_RESOLVED,
}
"""Our own reasons for attention → how long each stands: until the payment moves by itself again, or until an operator
has resolved it. Every other reason is the gateway's, and stands as long as its newest observation gives it."""

MONEY: Final = "MONEY"
EXPIRY: Final = "EXPIRY"
"""Classes of due work: an EXPIRY ends or looks at a payment that nobody waits for; all else is MONEY, and must not wait
for any number of those."""

REDEEMED: Final = "REDEEMED"
RELEASED: Final = "RELEASED"
"""What becomes of a quote: it was paid, or it will not be."""
OVER_LIMIT: Final = "OVER_LIMIT"
"""Redeeming a quote took a coupon over its limit."""

STEP: Final = "STEP"
OBSERVATION: Final = "OBSERVATION"


class PaymentNotFound(NotFound):
    """There is no such payment."""

    reason = "PAYMENT_NOT_FOUND"


class PaymentState(FailedPrecondition):
    """The payment's state does not allow this; read it, then decide."""

    reason = "PAYMENT_STATE"


class AmountNotChargeable(InvalidRequest):
    """Stripe cannot charge this total in this currency."""

    reason = "AMOUNT_NOT_CHARGEABLE"


class TooManySellers(InvalidRequest):
    """This collection pays one seller; start a payment for each."""

    reason = "TOO_MANY_SELLERS"


class MethodRefused(FailedPrecondition):
    """Stripe does not take this payment method; choose another."""

    reason = "METHOD_REFUSED"


class SubmitRefused(FailedPrecondition):
    """Stripe refuses this for good, whatever the payment method; the metadata says why."""

    reason = "SUBMIT_REFUSED"


class SubmitExpired(FailedPrecondition):
    """The submit did not reach Stripe in time and was given up; nothing was charged. Submit again, under a new id."""

    reason = "SUBMIT_EXPIRED"


class RefundableChanged(FailedPrecondition):
    """The refundable balance is not what you saw; read the payment, then decide again."""

    reason = "REFUNDABLE_CHANGED"


class RefundExceedsRefundable(FailedPrecondition):
    """More than what is refundable."""

    reason = "REFUND_EXCEEDS_REFUNDABLE"


class RefundRefused(FailedPrecondition):
    """Stripe refuses this refund for good."""

    reason = "REFUND_REFUSED"


class NotOffered(ServiceError):
    """This way of taking or collecting money is not offered by this version."""

    status = "UNIMPLEMENTED"
    reason = "NOT_OFFERED"


class SellerPartNotCovered(NotOffered):
    """The seller is due more than the payer pays; that the platform adds the rest is not offered by this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Minor units of the payment's currency, all >= 0; the meaning is batzen.type.v1.PaymentSnapshot.Amounts'."""

    authorized_minor: int = 0
    capturable_minor: int = 0
    captured_minor: int = 0
    refund_pending_minor: int = 0
    refunded_minor: int = 0
    disputed_open_minor: int = 0
    disputed_lost_minor: int = 0
    surplus_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentError:
    """Why collecting did not work."""

    code: str
    decline_code: str = ""
    message: str = ""
    recoverable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Why it needs an operator."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What is paid with, as far as it may be shown."""

    payment_method_id: str = ""
    type: str = ""
    brand: str = ""
    last4: str = ""
    expire_month: int = 0
    expire_year: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is true of a payment, as the next transition says it."""

    collection: str = INITIALIZED
    amounts: Amounts = field(default_factory=Amounts)
    last_error: PaymentError | None = None
    attentions: tuple[Attention, ...] = ()
    """Each reason once: the gateway's first, then ours, the oldest first."""
    cause: str = STEP
    reason: str = ""
    method: Method | None = None
    attempt: int = 0
    decline_count: int = 0

    @property
    def attention(self) -> Attention | None:
        """All that asks for an operator as one: the first reason, with the sentences of the others after its own."""
        if not self.attentions:
            return None
        detail = " ".join(one.detail for one in self.attentions if one.detail)
        return replace(self.attentions[0], detail=detail)

    @property
    def is_stuck(self) -> bool:
        """Whether it is said to be stuck."""
        return any(one.reason == STUCK for one in self.attentions)

    @property
    def is_unheard(self) -> bool:
        """Whether the newest thing on it is a submit of which nothing was heard."""
        return self.collection == PROCESSING and self.reason == SUBMITTED

    @property
    def is_cancelable(self) -> bool:
        """Whether calling it off may be tried. The gateway knows whether an unheard submit was sent, and decides."""
        return self.collection in CANCELABLE or self.is_unheard

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads back."""
        parts = {name: _values(getattr(self, name)) for name in ("last_error", "method")}
        attentions = [values_of(one) for one in self.attentions]
        return {**values_of(self), "amounts": values_of(self.amounts), "attentions": attentions, **parts}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Snapshot:
        """Read what `to_json` wrote."""
        return cls(
            **{
                **stored,
                "amounts": Amounts(**stored["amounts"]),
                "last_error": PaymentError(**stored["last_error"]) if stored["last_error"] else None,
                "attentions": tuple(Attention(**one) for one in stored["attentions"]),
                "method": Method(**stored["method"]) if stored["method"] else None,
            }
        )


def values_of(value: Any) -> dict[str, Any]:
    """Return the fields of one of our slotted dataclasses; `asdict` copies deeply, and costs more than the SQL."""
    return {name: getattr(value, name) for name in value.__slots__}


def _values(value: Any) -> dict[str, Any] | None:
    return None if value is None else values_of(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the gateway has seen of a payment; the meaning is batzen.gateway.v1.PaymentObservation's."""

    mirror_version: int
    attempt: int
    intent_state: str
    outcome_unknown: bool
    amounts: Amounts
    last_error: PaymentError | None
    method: Method | None
    attention: Attention | None
    decline_count: int


def observed(before: Snapshot, seen: Observation, *, cancel_outcome: str | None) -> Snapshot:
    """Return what is true after `seen`.

    `cancel_outcome` is what a cancelled intent means when the cancelling was ours: CANCELED, EXPIRED or FAILED. What is
    paid stays paid: only the amounts move then. Money that comes after the payment ended without money is applied, and
    needs an operator. The gateway's own attention goes when it is not seen any more.
    """
    collection = COLLECTION_OF_INTENT[seen.intent_state]
    last_error, reason = seen.last_error, ""
    attentions = tuple(one for one in moving(before).attentions if one.reason in ATTENTION_STANDS)
    if seen.attention is not None:
        attentions = (seen.attention, *attentions)
    if before.collection == SUCCEEDED:
        collection = SUCCEEDED
    elif seen.outcome_unknown:
        collection, reason = PROCESSING, OUTCOME_UNKNOWN
        if before.collection in ENDED_WITHOUT_MONEY:
            collection, reason = before.collection, before.reason
    elif collection == CANCELED:
        collection = before.collection if before.collection in ENDED_WITHOUT_MONEY else cancel_outcome or CANCELED
        last_error = last_error or before.last_error
    elif before.collection in ENDED_WITHOUT_MONEY:
        if collection in (SUCCEEDED, AUTHORIZED, PROCESSING):
            late = f"Money came after the payment was {before.collection}."
            attentions = _with(attentions, Attention(reason=LATE_MONEY, detail=late))
        else:
            collection = before.collection
    if collection == FAILED and last_error is not None:
        last_error = replace(last_error, recoverable=False)
    return Snapshot(
        collection=collection,
        amounts=seen.amounts,
        last_error=None if collection == SUCCEEDED else last_error,
        attentions=attentions,
        cause=OBSERVATION,
        reason=reason,
        method=seen.method or before.method,
        attempt=seen.attempt,
        decline_count=seen.decline_count,
    )


def opened(before: Snapshot, *, attempt: int) -> Snapshot:
    """Return what is true once there is an intent that waits for a method."""
    return _step(before, collection=REQUIRES_PAYMENT_METHOD, attempt=attempt)


def submitted(before: Snapshot) -> Snapshot:
    """Return what is true once a method was submitted and before anything was heard of it."""
    return _step(before, collection=PROCESSING, reason=SUBMITTED, last_error=None)


def refused(before: Snapshot, code: str) -> Snapshot:
    """Return what is true when nothing can be collected, for good; `code` says why."""
    error = PaymentError(code=code, message="This payment could not be set up.", recoverable=False)
    return _step(before, collection=FAILED, last_error=error)


def start_expired(before: Snapshot) -> Snapshot:
    """Return what is true when a start came to nothing in time, and never will."""
    return _step(before, collection=EXPIRED, reason=START_EXPIRED)


def method_refused(before: Snapshot, code: str) -> Snapshot:
    """Return what is true when Stripe did not take the method itself: the payer's turn again, with another one."""
    error = PaymentError(code=code, message="This payment method cannot be used. Choose another.", recoverable=True)
    return _step(before, collection=REQUIRES_PAYMENT_METHOD, last_error=error)


def submit_expired(before: Snapshot) -> Snapshot:
    """Return what is true when a submit was given up that never reached Stripe: the payer's turn again."""
    message = "Your payment could not be sent in time, and nothing was charged. Please pay again."
    error = PaymentError(code="submit_expired", message=message, recoverable=True)
    return _step(before, collection=REQUIRES_PAYMENT_METHOD, last_error=error)


def paid_nothing(before: Snapshot) -> Snapshot:
    """Return what is true of a payment over a total of zero: it succeeds without anybody being asked."""
    return _step(before, collection=SUCCEEDED, reason="NOTHING_TO_PAY")


def parked(before: Snapshot, attention: Attention) -> Snapshot:
    """Return what is true when an operator is needed, too for this."""
    return replace(before, attentions=_with(before.attentions, attention), cause=STEP)


def moving(before: Snapshot) -> Snapshot:
    """Return what is true when the payment moves again: what stood only until then is gone."""
    kept = tuple(one for one in before.attentions if ATTENTION_STANDS.get(one.reason) != UNTIL_IT_MOVES)
    return replace(before, attentions=kept, cause=STEP)


def _step(before: Snapshot, **changes: Any) -> Snapshot:
    return replace(moving(before), **({"reason": ""} | changes))


def _with(attentions: tuple[Attention, ...], new: Attention) -> tuple[Attention, ...]:
    """Return the attentions with a new one, which takes the place of an older one of its reason."""
    if any(one.reason == new.reason for one in attentions):
        return tuple(new if one.reason == new.reason else one for one in attentions)
    return (*attentions, new)


def quote_state(before: str | None, collection: str) -> str | None:
    """Return what becomes of a payment's quote; None while that is open.

    What was redeemed stays so. What was released is redeemed all the same when money comes late.
    """
    if before == REDEEMED or collection in TAKEN:
        return REDEEMED
    return RELEASED if collection in ENDED_WITHOUT_MONEY else before


def quote_problem(before: Snapshot, problem: str) -> Snapshot:
    """Return what is true when pricing answered with what needs an operator, beside what needs one already.

    `problem` is OVER_LIMIT, or the reason for which pricing refuses the quote's end.
    """
    if problem == OVER_LIMIT:
        new = Attention(reason=COUPON_OVER_LIMIT, detail="The payment used a coupon beyond its limit.")
    else:
        new = Attention(reason=QUOTE_REFUSED, detail=f"Pricing does not take the end of the quote: {problem}.")
    return parked(before, new)


def life_max(abandoned_after: timedelta) -> timedelta:
    """Return how long after its start a payer is waited for, whatever sign of life they give.

    A debit may take its time to fail; then they have a whole turn.
    """
    return DEBIT_FAILS_AFTER_MAX + abandoned_after


def quote_ttl(abandoned_after: timedelta) -> timedelta:
    """Return how long a quote has to stand: as long as its payer may take, and what is decided after their last try.

    What a quote holds is given back as soon as its payment ends, so a long time costs nothing.
    """
    return life_max(abandoned_after) + LOOK_AGAIN_AFTER


def is_sign_of_life(before: Snapshot, after: Snapshot) -> bool:
    """Whether the payer did something, or the turn came back to them.

    What is seen at Stripe of a payment that waits for its payer is their doing. What we add by ourselves is not.
    """
    if after.is_unheard:
        return True
    return after.collection in EXPIRABLE and (after.cause == OBSERVATION or after.collection != before.collection)


def is_worth_writing(expire_time: datetime | None, later: datetime, *, abandoned_after: timedelta) -> bool:
    """Whether a sign of life that changes nothing else moves the end far enough to be written: by a twentieth."""
    return expire_time is not None and later - expire_time > abandoned_after / 20


def says_something_new(before: Snapshot, after: Snapshot) -> bool:
    """Whether the two differ in more than what caused them."""
    return replace(after, cause=before.cause) != before


def is_given_up(said: Snapshot) -> bool:
    """Whether no further method is taken: the bank will not change its mind, or somebody tries out stolen cards."""
    if said.collection not in EXPIRABLE:
        return False
    is_final = said.last_error is not None and not said.last_error.recoverable
    return is_final or said.decline_count >= DECLINES_MAX


def refundable_minor(amounts: Amounts) -> int:
    """Return what can still be given back, in minor units, never below zero."""
    gone = amounts.refunded_minor + amounts.refund_pending_minor
    contested = amounts.disputed_open_minor + amounts.disputed_lost_minor
    return max(0, amounts.captured_minor - gone - contested)


def derived_id(payment_id: str, fact: str) -> uuid.UUID:
    """Return the request id of what follows from `fact`: the same whoever derives it, however often."""
    return uuid.uuid5(NAMESPACE, f"{payment_id}/{fact}")


def retry_delay(tries: int) -> timedelta:
    """Return how long to wait after `tries` failed ones in a row: doubling from `RETRY_FIRST` up to `RETRY_MAX`."""
    doublings = min(tries, 20)
    return min(RETRY_FIRST * (1 << doublings), RETRY_MAX)

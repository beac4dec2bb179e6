"""Rules of the mirror: what is true of a payment at Stripe, given what was seen of its intents and refunds. Pure.

An attempt is one intent. The attempt that counts is the first that took or holds money, else the latest. What another
attempt took is surplus: booked, never dropped, and an operator is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.gateway.disputes import domain as disputes
from services.gateway.disputes.domain import Dispute
from services.gateway.mirror import attention
from services.gateway.mirror.attention import Attention

LEASE: Final = timedelta(seconds=3)
"""How long a payment's calls stay with one process; renewed while a call runs, so it bounds the wait after a crash."""
IDEMPOTENCY_KEY_TTL: Final = timedelta(hours=23)
"""Stripe may forget an idempotency key after 24 h; a call older than this is looked up, never repeated."""
SETTLE_FIRST: Final = timedelta(seconds=1)
SETTLE_MAX: Final = timedelta(minutes=5)

REQUIRES_PAYMENT_METHOD: Final = "REQUIRES_PAYMENT_METHOD"
REQUIRES_CONFIRMATION: Final = "REQUIRES_CONFIRMATION"
REQUIRES_ACTION: Final = "REQUIRES_ACTION"
PROCESSING: Final = "PROCESSING"
REQUIRES_CAPTURE: Final = "REQUIRES_CAPTURE"
CANCELED: Final = "CANCELED"
SUCCEEDED: Final = "SUCCEEDED"

RANK: Final = {
    REQUIRES_PAYMENT_METHOD: 0,
    REQUIRES_CONFIRMATION: 1,
    REQUIRES_ACTION: 2,
    PROCESSING: 3,
    REQUIRES_CAPTURE: 4,
    CANCELED: 5,
    SUCCEEDED: 5,
}
"""An intent that moves to a higher rank advanced; one that moves down may do so too, but only a reading says that."""

NEVER_BACK: Final = frozenset({REQUIRES_CAPTURE, CANCELED, SUCCEEDED})
"""An intent that was here never asks for a method again."""

CONFIRMABLE: Final = frozenset({REQUIRES_PAYMENT_METHOD, REQUIRES_CONFIRMATION, REQUIRES_ACTION})
CANCELABLE: Final = frozenset({REQUIRES_PAYMENT_METHOD, REQUIRES_CONFIRMATION, REQUIRES_ACTION, REQUIRES_CAPTURE})

UNRECOVERABLE: Final = frozenset({"merchant_blacklist", "fraudulent"})
"""Decline codes after which the same payer should not be asked again: the bank or Stripe says it is not the payer's."""

REFUND_PENDING: Final = "PENDING"
REFUND_SUCCEEDED: Final = "SUCCEEDED"
REFUND_FAILED: Final = "FAILED"
REFUND_CANCELED: Final = "CANCELED"
ON_ITS_WAY: Final = frozenset({REFUND_PENDING, REFUND_SUCCEEDED})
"""The payer has the money, or will have it unless something goes wrong."""

NOTICES_MAX: Final = 10
"""Of one attempt: what Stripe said about it that nothing is done about. The oldest gives way."""


class IntentNotFound(NotFound):
    """The payment has no intent here."""

    reason = "INTENT_NOT_FOUND"


class IntentState(FailedPrecondition):
    """The intent does not allow this as it stands; read it again."""

    reason = "INTENT_STATE"


class AttemptOpen(FailedPrecondition):
    """An earlier attempt of this payment may still take money; cancel it first."""

    reason = "ATTEMPT_OPEN"


class SellerNotFound(NotFound):
    """The seller has no account here; put one first."""

    reason = "SELLER_NOT_FOUND"


class SellerNotPayable(FailedPrecondition):
    """The seller's account cannot be paid now; the metadata says what is missing."""

    reason = "SELLER_NOT_PAYABLE"


class SellerExists(AlreadyExists):
    """The seller already has another account."""

    reason = "SELLER_EXISTS"


class RefundNotFound(NotFound):
    """There is no such refund."""

    reason = "REFUND_NOT_FOUND"


class RefundableChanged(FailedPrecondition):
    """The refundable balance is not what you saw; read it again, then decide."""

    reason = "REFUNDABLE_CHANGED"


class RefundExceedsRefundable(FailedPrecondition):
    """More than what is refundable."""

    reason = "REFUND_EXCEEDS_REFUNDABLE"


class ChargeDisputed(FailedPrecondition):
    """Stripe does not refund a charge while it is disputed."""

    reason = "CHARGE_DISPUTED"


class DeadLetterNotFound(NotFound):
    """There is no such dead letter; it may have been replayed already."""

    reason = "DEAD_LETTER_NOT_FOUND"


class PageTokenInvalid(InvalidRequest):
    """The page token is none that this method made."""

    reason = "PAGE_TOKEN_INVALID"


class TenantNotServed(FailedPrecondition):
    """This gateway has the key of another tenant's Stripe account."""

    reason = "TENANT_NOT_SERVED"


class RequestExpired(FailedPrecondition):
    """It was not sent to Stripe in time, and will not be; nothing happened."""

    reason = "REQUEST_EXPIRED"


class StripeRefused(FailedPrecondition):
    """Stripe refuses this for good; the metadata says why."""

    reason = "STRIPE_REFUSED"


class StripeUnavailable(Unavailable):
    """Stripe is away or did not answer; nothing was concluded from that, send the same call again."""

    reason = "STRIPE_UNAVAILABLE"
    retry_after = timedelta(seconds=1)
    was_retried = True


class StripeKeySpent(StripeUnavailable):
    """Stripe repeats a failure it has stored; send the same call again, which it will see as another."""

    was_retried = False


class Amendable(StripeKeySpent):
    """Stripe refused a part of this that can be put right; send the same call again, which it will see as another."""

    def __init__(self, refusal: StripeRefused, params: Mapping[str, Any], *, is_of_account: bool) -> None:
        super().__init__()
        self.code = refusal.metadata.get("code", "")
        """Why, in Stripe's words."""
        self.param = refusal.metadata.get("param", "")
        """Which part of what Stripe was asked for."""
        self.params = params
        """Of the call that was refused."""
        self.is_of_account = is_of_account
        """It is the seller's account that is refused."""


class StripeRateLimited(ResourceExhausted):
    """Stripe's limit for this account is reached; send the same call again later."""

    reason = "STRIPE_RATE_LIMITED"
    retry_after = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentError:
    """Why the last confirm did not succeed."""

    code: str
    decline_code: str = ""
    message: str = ""
    recoverable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What was paid with, as far as it may be shown."""

    payment_method_id: str = ""
    type: str = ""
    brand: str = ""
    last4: str = ""
    expire_month: int = 0
    expire_year: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One PaymentIntent as Stripe showed it, in ISO minor units."""

    intent_id: str
    state: str
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
    state: str = REQUIRES_PAYMENT_METHOD
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
    """What Stripe said about it that nothing is done about: an object's id and the type of the last event around it."""

    @property
    def may_be_refunded(self) -> bool:
        """Whether no dispute is known to stand in the way of a refund."""
        if not self.disputes:
            return not self.disputed
        undecided = (one for one in self.disputes if one.standing in (disputes.OPEN, disputes.INQUIRY))
        return all(one.is_charge_refundable for one in undecided)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money on its way back."""

    refund_id: str
    attempt: int
    amount_minor: int
    create_time: datetime
    state: str = REFUND_PENDING
    stripe_refund_id: str = ""
    failure_reason: str = ""
    actor_id: str = ""
    fail_time: datetime | None = None
    """When it was first seen that the payer does not get it; None also until that is kept."""

    @property
    def is_returned(self) -> bool:
        """Whether Stripe took it and the payer does not get it; one that was refused was never promised."""
        return self.state not in ON_ITS_WAY and self.stripe_refund_id != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Minor units; the meaning is batzen.type.v1.PaymentSnapshot.Amounts'."""

    authorized_minor: int = 0
    capturable_minor: int = 0
    captured_minor: int = 0
    refund_pending_minor: int = 0
    refunded_minor: int = 0
    disputed_open_minor: int = 0
    disputed_lost_minor: int = 0
    surplus_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that is known of a payment at Stripe at one moment."""

    payment_id: str
    mirror_version: int = 0
    observe_time: datetime | None = None
    """When this version was kept; None before the first."""
    attempt: int = 0
    intent_state: str = REQUIRES_PAYMENT_METHOD
    outcome_unknown: bool = False
    amounts: Amounts = field(default_factory=Amounts)
    last_error: PaymentError | None = None
    method: Method | None = None
    attention: Attention | None = None
    decline_count: int = 0

    @property
    def refundable_minor(self) -> int:
        """What can still be given back, never below zero."""
        gone = self.amounts.refunded_minor + self.amounts.refund_pending_minor
        contested = self.amounts.disputed_open_minor + self.amounts.disputed_lost_minor
        return max(0, self.amounts.captured_minor - gone - contested)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads back."""
        seen = self.observe_time.isoformat() if self.observe_time is not None else None
        return {
            **_fields(self),
            "observe_time": seen,
            "amounts": _fields(self.amounts),
            "last_error": _fields(self.last_error),
            "method": _fields(self.method),
            "attention": _fields(self.attention),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Observation:
        """Read what `to_json` wrote."""
        return cls(
            **{
                **stored,
                "observe_time": datetime.fromisoformat(time) if (time := stored["observe_time"]) else None,
                "amounts": Amounts(**stored["amounts"]),
                "last_error": PaymentError(**stored["last_error"]) if stored["last_error"] else None,
                "method": Method(**stored["method"]) if stored["method"] else None,
                "attention": Attention(**stored["attention"]) if stored["attention"] else None,
            }
        )


def _fields(value: Any) -> Any:
    """Return the fields of one of our dataclasses, or None; `asdict` copies deeply, and costs more than the SQL."""
    return None if value is None else {name: getattr(value, name) for name in value.__slots__}


def refund_from_json(stored: dict[str, Any]) -> Refund:
    """Read a refund that was kept as `to_json`."""
    failed = stored["fail_time"]
    return Refund(
        **{
            **stored,
            "create_time": datetime.fromisoformat(stored["create_time"]),
            "fail_time": datetime.fromisoformat(failed) if failed else None,
        }
    )


def to_json(kept: Intent | Refund) -> dict[str, Any]:
    """Return what `intent_from_json` or `refund_from_json` reads back."""
    values = {**_fields(kept), "create_time": kept.create_time.isoformat()}
    if isinstance(kept, Intent):
        contested = [dispute.to_json() for dispute in kept.disputes]
        return values | {"error": _fields(kept.error), "method": _fields(kept.method), "disputes": contested}
    return values | {"fail_time": kept.fail_time.isoformat() if kept.fail_time is not None else None}


def intent_from_json(stored: dict[str, Any]) -> Intent:
    """Read an intent that was kept as `to_json`."""
    return Intent(
        **{
            **stored,
            "create_time": datetime.fromisoformat(stored["create_time"]),
            "error": PaymentError(**stored["error"]) if stored["error"] else None,
            "method": Method(**stored["method"]) if stored["method"] else None,
            "disputes": tuple(Dispute.from_json(one) for one in stored["disputes"]),
            "notices": tuple((object_id, event_type) for object_id, event_type in stored["notices"]),
        }
    )


def noticed(before: Intent, object_id: str, event_type: str, *, is_over: bool) -> Intent:
    """Return the attempt after Stripe said something about it that nothing is done about, or that this is over."""
    others = tuple(one for one in before.notices if one[0] != object_id)
    notices = others if is_over else (*others, (object_id, event_type))
    return replace(before, notices=notices[-NOTICES_MAX:])


def apply(before: Intent, facts: Facts, *, currency_code: str) -> Intent:
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


def advances(before: Intent, facts: Facts) -> bool:
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


def is_current(before: Intent, facts: Facts) -> bool:
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
    return intent.state == REQUIRES_PAYMENT_METHOD and not intent.error_mark and not intent.charge_id


def observe(
    before: Observation, intents: Sequence[Intent], refunds: Sequence[Refund], *, outcome_unknown: bool = False
) -> Observation:
    """Return what is known now; its version is one higher than before if it says anything else than before.

    `outcome_unknown` says that a call on an intent has no answer yet; what has ended cannot be changed by one.
    """
    asked = [intent for intent in sorted(intents, key=lambda intent: intent.attempt) if intent.intent_id]
    if not asked:
        return before
    counting = _counting(asked, before)
    given_back = {state: _refunded_minor(refunds, counting, state) for state in ON_ITS_WAY}
    surplus_minor = sum(_left_minor(intent, refunds) for intent in asked if intent is not counting)
    held_minor = counting.captured_minor + counting.capturable_minor
    after = Observation(
        payment_id=before.payment_id,
        mirror_version=before.mirror_version,
        observe_time=before.observe_time,
        attempt=counting.attempt,
        intent_state=counting.state,
        outcome_unknown=outcome_unknown and counting.state not in (SUCCEEDED, CANCELED),
        amounts=Amounts(
            authorized_minor=max(held_minor, before.amounts.authorized_minor),
            capturable_minor=counting.capturable_minor,
            captured_minor=counting.captured_minor,
            refund_pending_minor=given_back[REFUND_PENDING],
            refunded_minor=given_back[REFUND_SUCCEEDED],
            disputed_open_minor=disputes.total_minor(counting.disputes, disputes.OPEN),
            disputed_lost_minor=disputes.total_minor(counting.disputes, disputes.LOST),
            surplus_minor=surplus_minor,
        ),
        last_error=None if counting.state == SUCCEEDED else counting.error,
        method=counting.method,
        attention=attention.combined(_concerns(asked, refunds, surplus_minor)),
        decline_count=sum(intent.decline_count for intent in asked),
    )
    return after if after == before else replace(after, mirror_version=before.mirror_version + 1)


def _counting(intents: Sequence[Intent], before: Observation) -> Intent:
    """Return the attempt that counts: one that took money over one that holds it, and then the one that did already."""
    took = [intent for intent in intents if intent.captured_minor]
    holds = took or [intent for intent in intents if intent.capturable_minor]
    counted = [intent for intent in holds if intent.attempt == before.attempt]
    return (counted or holds or [intents[-1]])[0]


def _refunded_minor(refunds: Sequence[Refund], intent: Intent, state: str) -> int:
    return sum(one.amount_minor for one in refunds if one.attempt == intent.attempt and one.state == state)


def _left_minor(intent: Intent, refunds: Sequence[Refund]) -> int:
    """Return what is still there of what an attempt took."""
    contested = (disputes.total_minor(intent.disputes, standing) for standing in (disputes.OPEN, disputes.LOST))
    return max(0, intent.captured_minor - _refunded_minor(refunds, intent, REFUND_SUCCEEDED) - sum(contested))


def owed_minor(refunds: Sequence[Refund]) -> int:
    """Return what a payer was promised back and did not get: of refunds that failed after Stripe took them.

    A refund that was made after one was seen to have failed counts as its replacement, as far as it goes. One that was
    made before was meant for something else.
    """
    replacements = {one.refund_id: one.amount_minor for one in refunds if one.state in ON_ITS_WAY}
    owed = 0
    for failed in sorted((one for one in refunds if one.is_returned), key=lambda one: (one.create_time, one.refund_id)):
        missing = failed.amount_minor
        for later in refunds:
            if missing and later.refund_id in replacements and _is_after(later, failed):
                used = min(missing, replacements[later.refund_id])
                replacements[later.refund_id] -= used
                missing -= used
        owed += missing
    return owed


def _is_after(later: Refund, failed: Refund) -> bool:
    """Whether a refund was made after another was seen to have failed; Stripe counts whole seconds."""
    return failed.fail_time is not None and later.create_time >= failed.fail_time.replace(microsecond=0)


def _concerns(intents: Sequence[Intent], refunds: Sequence[Refund], surplus_minor: int) -> Iterator[Attention]:
    """Yield all that an operator has to know."""
    for intent in intents:
        for dispute in intent.disputes:
            concern = dispute.attention()
            if concern is not None:
                yield concern
        if intent.disputed and not intent.disputes:
            yield disputes.UNREAD
        if intent.mismatch:
            yield Attention(reason=attention.AMOUNT_MISMATCH, detail=intent.mismatch)
        for object_id, event_type in intent.notices:
            detail = f"Stripe says {event_type} ({object_id}), about which nothing is done here."
            yield Attention(reason=attention.EVENT_NOT_HANDLED, detail=detail)
    if (unpaid_minor := owed_minor(refunds)) > 0:
        which = ", ".join(f"{one.refund_id} ({one.amount_minor})" for one in refunds if one.is_returned)
        detail = f"The payer did not get {unpaid_minor} minor units that were on their way back; failed: {which}."
        yield Attention(reason=attention.REFUND_FAILED, detail=detail)
    if surplus_minor > 0:
        detail = f"{surplus_minor} minor units were taken on another attempt."
        yield Attention(reason=attention.SURPLUS, detail=detail)


def next_version(before: int, now: datetime) -> int:
    """Return the version of an observation that is kept now: above all that were ever given to this payment.

    That is the time in microseconds, or one more than before where a clock says less. A database that was restored to
    an earlier moment has forgotten versions; the time has not.
    """
    return max(before + 1, int(now.timestamp() * 1_000_000))


def settle_delay(tries: int) -> timedelta:
    """Return how long to rest before an unanswered call is tried again: doubling up to `SETTLE_MAX`."""
    doublings = min(tries, 20)
    return min(SETTLE_FIRST * (1 << doublings), SETTLE_MAX)

"""Rules of one attempt's intent: what Stripe's object changes of it, and whether a snapshot shows anything new. Pure.

An attempt is one intent, one setup intent, or one hosted page, which makes its intent when the payer pays.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.gateway.disputes.domain import Dispute, Standing
from services.gateway.settlement.domain import Settled, SettlementTerms
from services.shared.amounts import written
from services.shared.payment import Method, PaymentError
from services.shared.split import LineAmount, Split
from services.shared.states import AttemptKind, IntentState

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
CONFIRMING: Final = frozenset({IntentState.REQUIRES_ACTION, IntentState.PROCESSING})
"""With what it was confirmed with last, it may still succeed."""
CANCELABLE: Final = CONFIRMABLE | {IntentState.REQUIRES_CAPTURE}

TAKES: Final = frozenset({IntentState.PROCESSING, IntentState.REQUIRES_CAPTURE, IntentState.SUCCEEDED})
"""States in which money is there, or on its way."""

NOTICES_MAX: Final = 10
"""Of one attempt: events after which an operator decides. The oldest gives way."""

FRAUD_WARNING: Final = "radar.early_fraud_warning."
REVIEW: Final = "review."
DOUBTS: Final = (FRAUD_WARNING, REVIEW)
"""How the types of events begin after which nothing is captured, charged or paid on to sellers by itself until what
they are about is over."""


class SessionState(StrEnum):
    """How a hosted page stands."""

    OPEN = "OPEN"
    COMPLETE = "COMPLETE"
    """The payer finished; whether money came is said by its intent alone."""
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """An amount that is held and waits to be captured."""

    expire_time: datetime
    """When it lapses by itself."""
    can_capture_again: bool = False
    """A part may be captured, and more later. Else a capture releases what it leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeFacts:
    """What a charge that took money says of what Stripe booked and moved with it, in ISO minor units."""

    charge_id: str
    captured_minor: int
    currency_code: str
    balance_transaction_id: str = ""
    """Empty until it is booked. Of several captures that of the last."""
    transfer_id: str = ""
    """Of a destination charge, once it is booked."""
    transfer_minor: int
    fee_id: str = ""
    fee_minor: int
    is_captured_once: bool
    """Else it may name one of several transfers and fees, and its amounts are those of all."""
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentFacts:
    """One PaymentIntent or SetupIntent as Stripe showed it, in ISO minor units."""

    intent_id: str
    state: IntentState
    amount_minor: int = 0
    currency_code: str = ""
    captured_minor: int = 0
    capturable_minor: int = 0
    is_setup: bool = False
    """It is a SetupIntent, which has no amounts."""
    keeps_method: bool = False
    """It keeps its method for later charges, once it succeeds."""
    hold: Hold | None = None
    """None where nothing is held, and where the charge itself was not shown."""
    was_held: bool = False
    """Its charge shows that an amount was held."""
    ended_by_stripe: bool = False
    """Stripe cancelled it by itself."""
    charge_id: str = ""
    refunded_minor: int = 0
    """What its charge says was given back, refunds on their way included."""
    disputed: bool | None = None
    """None where the charge itself was not shown."""
    charge: ChargeFacts | None = None
    """None where the charge itself was not shown, or took nothing."""
    error: PaymentError | None = None
    error_mark: str = ""
    """Tells one decline from the next: the charge that failed, or what failed to authenticate."""
    advice_code: str = ""
    """What Stripe advises after a decline; empty where it advises nothing."""
    method: Method | None = None
    """Without a `type` where only its id was shown."""
    mandate_id: str = ""
    """The payer's agreement to debits; empty where there is or was shown none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One attempt, as last seen."""

    attempt: int
    amount_minor: int
    application_fee_minor: int
    create_time: datetime
    """When we asked for it."""
    seller_id: str = ""
    """Whom Stripe transfers to with the charge; empty where we transfer by calls of our own, if to anybody."""
    split: Split | None = None
    """How it is split; None where the caller said no more than the fee."""
    settlement: SettlementTerms = field(default_factory=SettlementTerms)
    settled: Settled | None = None
    """What its charge came to on the platform's balance; None until that was read, for transfers of ours alone. Of a
    charge that was captured again since it is only a part."""
    captured_parts: tuple[LineAmount, ...] = ()
    """What of each line was captured by the last capture that said so, with all before it; what was captured since, or
    all where none said so, is by largest remainder."""
    kind: AttemptKind = AttemptKind.INTENT
    is_setup: bool = False
    """It keeps a method and takes no money; the amount is what is charged later."""
    capture_manually: bool = False
    """It holds the amount, which is captured later."""
    captured_fee_minor: int | None = None
    """What the platform keeps of what was captured; None while that is said by `application_fee_minor`."""
    consent_actor_id: str = ""
    """Who agreed that the method is kept for later charges; empty where nobody did."""
    consent_time: datetime | None = None
    keeps_method: bool = False
    """Stripe keeps its method, once it succeeds."""
    intent_id: str = ""
    """Empty while the call that creates it is not answered, and of a hosted page until its payer pays."""
    session_id: str = ""
    """Of a hosted page alone."""
    session_state: SessionState | None = None
    session_expire_time: datetime | None = None
    """When the hosted page ends by itself."""
    state: IntentState = IntentState.REQUIRES_PAYMENT_METHOD
    captured_minor: int = 0
    capturable_minor: int = 0
    hold: Hold | None = None
    """None where nothing is held."""
    hold_lapsed: bool = False
    """What it held was released by Stripe, as it was not captured in time."""
    charge_id: str = ""
    balance_transaction_id: str = ""
    """By which Stripe booked what it took last; empty until it is seen."""
    refunded_at_stripe_minor: int = 0
    disputed: bool = False
    error: PaymentError | None = None
    error_mark: str = ""
    advice_code: str = ""
    method: Method | None = None
    mandate_id: str = ""
    claims_method_id: str = ""
    """The kept method that it is being confirmed with, so that a later attempt may charge it: until that is over."""
    needs_method_id: str = ""
    """The method that it kept, while its payment needs that."""
    is_released: bool = False
    """It kept a method that its payment will not use, or its page is spent: cancelled in our books, as Stripe cancels
    nothing."""
    decline_count: int = 0
    mismatch: str = ""
    """What Stripe's answer says differently from what was asked; empty when nothing."""
    disputes: tuple[Dispute, ...] = ()
    """Of its charge; empty also while `disputed` is all that was shown."""
    is_unseen: bool = False
    """It was imported, and Stripe has not shown it since."""
    notices: tuple[tuple[str, str], ...] = ()
    """Events about it that nothing is done about: an object's id and the type of the last event around it."""

    @property
    def is_made(self) -> bool:
        """Whether it is there at Stripe."""
        return bool(self.intent_id or self.session_id)

    @property
    def came_to_nothing(self) -> bool:
        """Whether Stripe refused to make it: it is not there, and its number may be asked for again."""
        return self.state == IntentState.CANCELED and not self.is_made

    @property
    def kept_method_id(self) -> str:
        """The method that it kept with somebody's consent; empty where it kept none."""
        is_kept = self.keeps_method and self.state in (IntentState.SUCCEEDED, IntentState.REQUIRES_CAPTURE)
        return self.method.payment_method_id if is_kept and self.consent_actor_id and self.method is not None else ""

    @property
    def is_destination(self) -> bool:
        """Whether Stripe itself transfers what it takes to its one seller, and takes the platform's fee back."""
        return bool(self.seller_id)

    @property
    def rate(self) -> Settled | None:
        """By what its sellers are paid; None until all that was captured is seen on the platform's balance."""
        is_all = self.settled is not None and self.settled.charge_minor >= self.captured_minor
        return self.settled if is_all else None

    @property
    def is_doubted(self) -> bool:
        """Whether Stripe warns of fraud, or reviews the charge: nothing is paid on meanwhile."""
        return any(event_type.startswith(DOUBTS) for _, event_type in self.notices)

    @property
    def is_over(self) -> bool:
        """Whether it takes no money any more, so that the next attempt may begin."""
        is_kept = self.is_setup and self.state == IntentState.SUCCEEDED
        return self.state == IntentState.CANCELED or is_kept or self.is_page_spent

    @property
    def is_page_to_be_read(self) -> bool:
        """Whether its page may have come further than was seen: one that is over with does not change any more."""
        lacks_intent = self.session_state is SessionState.COMPLETE and not self.intent_id
        return self.session_state is SessionState.OPEN or lacks_intent

    @property
    def is_page_spent(self) -> bool:
        """Whether its payer is done with its page, and the money that was on its way since did not come."""
        waits = self.state == IntentState.REQUIRES_PAYMENT_METHOD
        return self.session_state is SessionState.COMPLETE and waits

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


def declined_again(before: Intent) -> Intent:
    """Return the attempt so that the decline that its confirm was answered with counts, whatever came before.

    A charge that failed tells one decline from the next. Where the bank was not asked there is none, and the payer's
    absence is all that is said, each time in the same words.
    """
    return replace(before, error_mark="") if ":" in before.error_mark else before


def page_state(page: SessionState | None, intent: IntentState | None) -> IntentState:
    """Return how an attempt stands by its page, if it is one, and by its intent, if there is one."""
    if page is SessionState.EXPIRED:
        return intent if intent is not None and intent in TAKES else IntentState.CANCELED
    if intent is None:  # of a page that is complete it is still to be read
        return IntentState.PROCESSING if page is SessionState.COMPLETE else IntentState.REQUIRES_PAYMENT_METHOD
    if page is SessionState.OPEN and intent == IntentState.CANCELED:  # it makes another
        return IntentState.REQUIRES_PAYMENT_METHOD
    return intent


def apply(before: Intent, facts: IntentFacts, *, currency_code: str) -> Intent:
    """Return the attempt after its intent was seen; a decline that was not seen before is counted."""
    declined = facts.error is not None and facts.error_mark not in ("", before.error_mark)
    was_held = facts.was_held or before.hold is not None or before.hold_lapsed
    return replace(
        before,
        intent_id=facts.intent_id,
        is_unseen=False,
        state=_state(before, facts),
        captured_minor=facts.captured_minor,
        capturable_minor=facts.capturable_minor,
        hold=(facts.hold or before.hold) if facts.capturable_minor else None,
        hold_lapsed=facts.ended_by_stripe and was_held,
        charge_id=facts.charge_id or before.charge_id,
        refunded_at_stripe_minor=max(facts.refunded_minor, before.refunded_at_stripe_minor),
        disputed=before.disputed if facts.disputed is None else facts.disputed,
        claims_method_id=before.claims_method_id if facts.state in CONFIRMING and not before.is_released else "",
        error=facts.error,
        error_mark=facts.error_mark,  # a new confirm clears it, so that the same card may fail a second time
        advice_code=facts.advice_code,
        keeps_method=facts.keeps_method,
        method=facts.method if facts.method is not None and not _is_known(before, facts.method) else before.method,
        mandate_id=facts.mandate_id or before.mandate_id,
        decline_count=before.decline_count + declined,
        mismatch=_mismatch(before, facts, currency_code=currency_code),
    )


def _state(before: Intent, facts: IntentFacts) -> IntentState:
    took = facts.captured_minor or facts.capturable_minor
    if before.is_released and not took:
        return IntentState.CANCELED
    return page_state(before.session_state, facts.state)


def _mismatch(before: Intent, facts: IntentFacts, *, currency_code: str) -> str:
    """Return what Stripe has otherwise than it was asked for."""
    if facts.is_setup or (facts.amount_minor, facts.currency_code) == (before.amount_minor, currency_code):
        return ""
    asked, has = written(before.amount_minor, currency_code), written(facts.amount_minor, facts.currency_code)
    return f"Asked for {asked}, Stripe has {has}."


def advances(before: Intent, facts: IntentFacts) -> bool:
    """Whether a snapshot only takes the intent further, so that it may be applied without a reading.

    A snapshot says what was true when it was made. From a state that an intent never leaves backwards it says enough;
    any other could be older than a decline seen since, unless nothing at all was seen since the intent was made.
    """
    return (
        before.session_state is not SessionState.OPEN  # what became of its page is to be read, too
        and RANK[facts.state] > RANK[before.state]
        and (facts.state in NEVER_BACK or _is_untouched(before))
        and _is_same_amount(before, facts)
        and facts.captured_minor >= before.captured_minor
        # When a hold ends, and whether it was one that ended, is shown with its charge.
        and (facts.capturable_minor == 0 or facts.hold is not None)
        and (not facts.ended_by_stripe or before.hold is not None or facts.was_held)
        # What was paid with is shown in full by a reading only.
        and (facts.method is None or facts.method.type != "" or _is_known(before, facts.method))
    )


def is_current(before: Intent, facts: IntentFacts) -> bool:
    """Whether a snapshot shows the intent as it was last seen."""
    return (
        _state(before, facts) == before.state
        and _is_same_amount(before, facts)
        and (facts.method is None or (before.method is not None and _same_method(before.method, facts.method)))
        and facts.captured_minor == before.captured_minor
        and facts.capturable_minor == before.capturable_minor
        and facts.hold in (None, before.hold)
        and facts.error_mark in ("", before.error_mark)
        and facts.refunded_minor <= before.refunded_at_stripe_minor
    )


def _is_same_amount(before: Intent, facts: IntentFacts) -> bool:
    return facts.is_setup or facts.amount_minor == before.amount_minor


def _is_known(before: Intent, method: Method) -> bool:
    """Whether `method` is only the id of the one that was seen in full."""
    return before.method is not None and not method.type and _same_method(before.method, method)


def _same_method(one: Method, other: Method) -> bool:
    return one.payment_method_id == other.payment_method_id


def _is_untouched(intent: Intent) -> bool:
    return intent.state == IntentState.REQUIRES_PAYMENT_METHOD and not intent.error_mark and not intent.charge_id

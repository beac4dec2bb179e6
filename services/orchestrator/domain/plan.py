"""What is kept of a payment and of what callers asked for, as values."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.orchestrator.domain.course import Course
from services.orchestrator.domain.payment import Snapshot, derived_id
from services.orchestrator.domain.price import Price
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.domain.terms import Collection, Terms, Timing
from services.shared.split import Split
from services.shared.states import AttemptKind, AttentionReason, State

OBSERVED: Final = "mirror:"
"""What the fact of a transition begins with that follows from an observation; its version comes next."""


class Stage(StrEnum):
    """How far a plan has come."""

    STARTING = "STARTING"
    """Until there is something to pay with."""
    COLLECTING = "COLLECTING"
    ENDED = "ENDED"
    """Nothing is collected any more; refunds and what Stripe reports still move the payment."""
    REFUSED = "REFUSED"
    """The start was refused: no payment was opened."""


class DueFor(StrEnum):
    """What a payment is due for: an EXPIRY must not hold up MONEY, however many there are."""

    MONEY = "MONEY"
    EXPIRY = "EXPIRY"
    """Its payer's time is up, or it has to be looked at again, and nobody waits for it."""


class NextStep(StrEnum):
    """What a plan does by itself when its time comes."""

    GIVE_UP_START = "GIVE_UP_START"
    """No intent is created any more."""
    EXPIRE = "EXPIRE"
    """Its payer is gone."""
    CHARGE = "CHARGE"
    """A scheduled payment is charged, without its payer."""
    CAPTURE = "CAPTURE"
    """What is held is captured."""
    WARN_HOLD = "WARN_HOLD"
    """An operator is told that a hold is about to lapse."""
    RELEASE = "RELEASE"
    """A hold is released before it lapses."""
    LOOK = "LOOK"
    """What should be over at Stripe by now is read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """What a request id is unique within."""

    tenant_id: str
    caller: str
    method: str
    request_id: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of a caller, and what came of it."""

    key: RequestKey
    request_hash: bytes
    payment_id: str
    command: bytes
    """What was asked for, as far as it may be stored."""
    is_urgent: bool = False
    """It is carried on before the other open requests of its payment."""
    calling: bool = False
    """It passed its checks, and others were or may have been called; from here on it is only carried on."""
    accept_time: datetime | None = None
    """When it was written down; None of what is not yet."""
    send_before_time: datetime | None = None
    """After this it is not sent to Stripe for a first time any more; None where it goes ahead at any age."""
    actor_id: str = ""
    """The operator who decided; empty where it was none: then no action of an operator is kept of it."""
    answer: bytes | None = None
    refusal: Mapping[str, object] | None = None

    @property
    def done(self) -> bool:
        """Whether the answer is final."""
        return self.answer is not None or self.refusal is not None

    @property
    def derived_id(self) -> str:
        """The request id under which others are called for it: derived from the caller's, and as unique."""
        key = self.key
        return str(derived_id(self.payment_id, f"{key.method}:{key.caller}:{key.request_id}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One revision that status still has to record."""

    request_id: uuid.UUID
    """Derived from payment and fact, so that the same fact is never recorded twice."""
    fact: str
    snapshot: Snapshot
    is_derived: bool = False
    """Whoever goes on from what was saved before it comes to the same: it may be recorded before it is saved."""

    @property
    def follows_observation(self) -> bool:
        """Whether it follows from an observation, so that what follows from a newer one takes its place."""
        return self.fact.startswith(OBSERVED)

    def follows(self, mirror_version: int) -> bool:
        """Whether it follows from the observation of this version."""
        return self.fact == f"{OBSERVED}{mirror_version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep:
    """What a request does first, decided by how the payment stands, so that it is saved with the request."""

    fact: str
    request_id: uuid.UUID
    """Of the transition: derived from payment and fact."""
    collections: frozenset[State]
    """It is taken from these."""
    without: frozenset[str]
    """It is not taken of a payment that stands there for one of these reasons."""
    kinds: frozenset[AttemptKind]
    """It is taken of a payment whose attempt is one of these."""
    total_minor: int | None = None
    """It is taken of a payment that costs so much; None of one at any price."""
    currency_code: str | None = None
    timing: Timing | None = None
    """It is taken of a payment of this timing; None of one of any."""
    changes: Mapping[str, object]
    """What it changes of the stored snapshot of a payment that needs nobody's attention."""
    course_changes: Mapping[str, object]
    """What it changes of the stored course."""
    decline_count: int | None = None
    """It is taken of a payment that was declined as often and no more; None where that does not matter."""

    def transition(self, snapshot: Snapshot) -> Transition:
        """Return what status has to record of it."""
        return Transition(request_id=self.request_id, fact=self.fact, snapshot=snapshot)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteEnd:
    """What pricing has to hear of one payment's quote."""

    tenant_id: str
    payment_id: str
    quote_id: str
    quote_state: QuoteState


@dataclass(slots=True, kw_only=True)
class NewPayment:
    """What StartPayment writes down before anything else happens."""

    payment_id: str
    payer_id: str
    quote_request: bytes
    session_type: str
    session_name: str
    client_reference: str
    return_url: str
    seller_ids: tuple[str, ...]
    booking_ids: tuple[str, ...]
    labels: dict[str, str]
    terms: Terms = field(default_factory=Terms)
    course: Course = field(default_factory=Course)


@dataclass(slots=True, kw_only=True)
class Plan(NewPayment):
    """A payment's plan as its holder sees and changes it; nothing is kept until it is saved."""

    tenant_id: str
    stage: Stage
    quote_id: str | None
    currency_code: str | None
    total_minor: int | None
    split: Split
    """Who gets what of each line; without lines before it is priced."""
    attempt: int
    """The current one, counted from 1; 0 before the first."""
    attempt_kind: AttemptKind
    cancel_outcome: State | None
    """What a cancelled attempt will mean; REQUIRES_PAYMENT_METHOD where another one takes its place."""
    observed_version: int
    observation: bytes | None
    mirror_version: int
    latest_snapshot: Snapshot
    """What was last put into the outbox: what the next transition starts from."""
    revision: int
    fence: int
    work_class: DueFor
    failures: int
    """In a row, until now."""
    next_step: NextStep | None
    """What its time brings, if nothing happens before; None if nothing."""
    next_time: datetime | None
    """When `next_step` is due."""
    create_time: datetime
    request_count: int
    """How many requests were accepted, and answers of pricing to be heard; tells whether one came while it was held."""
    quote_state: QuoteState | None
    """What was decided of the quote."""
    quote_holds_uses: bool = False
    """Whether the quote holds uses of coupons, so that pricing has to hear what was decided."""
    quote_pending: QuoteState | None = None
    """The same, while pricing has not heard of it."""
    quote_problem: str | None = None
    """What pricing answered to it that no operator was notified of."""
    has_urgent_request: bool = False
    """Whether an urgent request was accepted that has no answer yet."""
    pending: list[Transition] = field(default_factory=list)
    """The outbox, oldest first."""
    rejected: list[str] = field(default_factory=list)
    """The facts that status rejected, and that no operator was notified of yet."""
    trace_context: str | None = None
    """Of what made it due last."""
    due_time: datetime | None = None
    """When it is to be looked at next, as its holder decides on releasing it; None if nothing is to be done."""

    @property
    def platform_fee_minor(self) -> int:
        """What the platform keeps of all lines, without what its own goods bring; below 0 where it adds more."""
        return sum(line.platform_minor for line in self.split.lines)

    @property
    def destination(self) -> str:
        """Whom Stripe transfers to with the charge; empty where each seller gets a transfer of its own.

        That is the one seller of a payment that is charged its whole part. What is paid out later than it is captured,
        and what several get, or one that gets more than is charged, is transferred by calls of ours.
        """
        sellers = self.split.seller_ids
        is_plain = len(sellers) == 1 and not any(line.is_platform for line in self.split.lines)
        is_at_capture = self.terms.policy.pay_after_service_h is None
        return sellers[0] if is_plain and is_at_capture and self.platform_fee_minor >= 0 else ""

    def application_fee_minor(self, captured_minor: int) -> int:
        """Return what of so much that is captured in all Stripe keeps for the platform: nothing of separate transfers.

        What is captured beyond the total is of no line.
        """
        if not self.destination:
            return 0
        standing = self.split.of_amount(captured_minor)
        return sum(standing[line.line_id] - self.split.seller_minor(line, standing) for line in self.split.lines)

    @property
    def has_intent(self) -> bool:
        """Whether there is an attempt of which the gateway can say how it stands."""
        return self.attempt > 0

    def take(self, price: Price) -> None:
        """Charge what a quote says from now on."""
        self.quote_id, self.currency_code, self.total_minor = price.quote_id, price.currency_code, price.total_minor
        self.quote_holds_uses, self.split = price.holds_uses, price.split
        self.course = replace(
            self.course,
            quote_expire_time=price.expire_time,
            vat_minor=price.vat_minor,
            vat_rate=price.vat_rate,
            original_minor=price.original_minor,
        )

    def costs(self, price: Price) -> bool:
        """Whether it is what is charged already, to the payer and for each seller."""
        return (self.total_minor, self.split) == (price.total_minor, price.split)

    @property
    def came_late(self) -> bool:
        """Whether money came after the payment had ended: no plan and no service captures it, but an operator."""
        return self.course.came_late or self.latest_snapshot.needs(AttentionReason.LATE_MONEY)

    @property
    def collection(self) -> Collection:
        """How the payer's method is collected now."""
        return self.course.collection or self.terms.collection

"""What the stand-in's own objects say of one payment, and what has to be true of the payment by that: a small model.

It knows no attempt, no webhook and no plan of ours: only what Stripe holds, what clients were told, and the table of
moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from sandbox.control import SandboxControl
from services.orchestrator.domain.payment import WITHOUT_ATTEMPT
from services.shared.states import State
from services.status.domain.snapshot import ENDS, MOVES

Object = Mapping[str, Any]

OPEN_INTENT: Final = frozenset(
    {"requires_payment_method", "requires_confirmation", "requires_action", "processing", "requires_capture"}
)
PAYERS_TURN: Final = frozenset({State.REQUIRES_PAYMENT_METHOD, State.REQUIRES_ACTION})
FAULTS_OF_OURS: Final = frozenset({"STUCK", "TRANSITION_REFUSED", "AMOUNT_MISMATCH", "QUOTE_REFUSED"})
"""Reasons for attention that no client, bank or fault of the network may bring about."""


@dataclass(slots=True)
class Told:
    """What clients were told of one payment, and what happened to it that no client may do."""

    captured_minor: int = 0
    """By captures of a stated part that were answered with success."""
    captured_whole: int = 0
    """How many captures of all that was held were."""
    refunded_minor: int = 0
    is_called_off: bool = False
    is_forced: bool = False
    """Money was made to arrive on an attempt that was over, as no payer can."""
    has_lost_refund: bool = False
    """A refund was made in Stripe's dashboard."""


@dataclass(slots=True, kw_only=True)
class Followed:
    """One payment that is followed, and what was seen of it."""

    payment_id: str
    payer_id: str
    timing: int
    booking_ids: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    """All client secrets that its payer was ever given, the newest last."""
    pages: list[str] = field(default_factory=list)
    """The same of hosted pages."""
    told: Told = field(default_factory=Told)
    history: list[status_pb2.Transition] = field(default_factory=list)

    @property
    def collection(self) -> State:
        """Where it stood when it was last looked at."""
        return collection_of(self.history[-1].snapshot) if self.history else State.REQUIRES_PAYMENT_METHOD

    @property
    def moves(self) -> list[tuple[State, State]]:
        """The moves of its collection, from one state to another."""
        states = [collection_of(step.snapshot) for step in self.history]
        return [(origin, target) for origin, target in pairwise(states) if origin is not target]


@dataclass(frozen=True, slots=True, kw_only=True)
class AtStripe:
    """All that Stripe has of one payment."""

    intents: Sequence[Object]
    setups: Sequence[Object]
    pages: Sequence[Object]
    charges: Sequence[Object]
    refunds: Sequence[Object]

    @property
    def received(self) -> list[int]:
        """What each intent took that took something."""
        return [one["amount_received"] for one in self.intents if one["amount_received"]]

    @property
    def capturable_minor(self) -> int:
        return sum(one["amount_capturable"] for one in self.intents)

    @property
    def moved(self) -> set[str]:
        """The intents that took or hold money, or on which it is on its way."""
        return {
            one["id"]
            for one in self.intents
            if one["amount_received"] or one["amount_capturable"] or one["status"] == "processing"
        }

    def refunded(self, status: str) -> int:
        return sum(one["amount"] for one in self.refunds if one["status"] == status)

    @property
    def open_attempts(self) -> set[str]:
        """What a payer could still pay with: each page with what it made as one."""
        made_by = {page[kind]: page for page in self.pages for kind in ("payment_intent", "setup_intent") if page[kind]}
        found = {page["id"] for page in self.pages if page["status"] == "open"}
        for one in (*self.intents, *self.setups):
            if one["status"] not in OPEN_INTENT:
                continue
            page = made_by.get(one["id"])
            if page is None:
                found.add(one["id"])
            elif page["status"] == "open" or one["status"] != "requires_payment_method":
                found.add(page["id"])  # on a page that is complete nobody chooses another method
        return found

    def asks_for_payer(self) -> bool:
        """Whether a bank asks for the payer, on an attempt that is not over."""
        return any(
            one["status"] == "requires_action"
            or (one.get("last_payment_error") or {}).get("code") == "authentication_required"
            for one in (*self.intents, *self.setups)
            if one["status"] in OPEN_INTENT
        )


async def at_stripe(stripe: SandboxControl, payment_id: str) -> AtStripe:
    """Read what Stripe has of a payment."""
    of_payment = {"metadata.payment_id": payment_id}
    intents = await stripe.objects("payment_intent", **of_payment)
    ids = [one["id"] for one in intents]
    return AtStripe(
        intents=intents,
        setups=await stripe.objects("setup_intent", **of_payment),
        pages=await stripe.objects("checkout.session", **of_payment),
        charges=[one for id_ in ids for one in await stripe.objects("charge", payment_intent=id_)],
        refunds=[one for id_ in ids for one in await stripe.objects("refund", payment_intent=id_)],
    )


def collection_of(snapshot: payment_pb2.PaymentSnapshot) -> State:
    return State(payment_pb2.PaymentState.Name(snapshot.collection).removeprefix("PAYMENT_STATE_"))


def check_history(one: Followed, now: Sequence[status_pb2.Transition]) -> None:
    """What was recorded stays as it was, each fact once, each move by the table."""
    seen = len(one.history)
    assert list(now[:seen]) == one.history, "what was recorded has changed"
    assert [step.revision for step in now] == list(range(1, len(now) + 1)), "revisions grow one by one"
    assert len({step.request_id for step in now}) == len(now), "a fact was recorded twice"
    for before, after in zip(now[max(seen - 1, 0) :], now[max(seen, 1) :], strict=False):
        origin, target = collection_of(before.snapshot), collection_of(after.snapshot)
        assert target is origin or target in MOVES[origin], f"{origin} became {target}"
        assert _facts(before.snapshot) != _facts(after.snapshot), f"revision {after.revision} says nothing new"
    one.history = list(now)


def _facts(snapshot: payment_pb2.PaymentSnapshot) -> payment_pb2.PaymentSnapshot:
    facts = payment_pb2.PaymentSnapshot()
    facts.CopyFrom(snapshot)
    facts.ClearField("cause")
    return facts


def check_always(one: Followed, payment: status_pb2.Payment, seen: AtStripe) -> None:
    """Whatever is under way: at most one charge that counts, nothing beyond the quote, no second open attempt."""
    amounts, total_minor = payment.snapshot.amounts, payment.total.amount_minor
    assert amounts.captured_minor <= total_minor, "more is captured than was quoted"
    assert amounts.captured_minor + amounts.capturable_minor <= max(amounts.authorized_minor, amounts.captured_minor)
    assert amounts.refunded_minor + amounts.refund_pending_minor <= amounts.captured_minor, "more went back than came"
    if one.told.is_forced:
        return
    assert len(seen.moved) <= 1, f"money moved on several attempts: {seen.moved}"
    assert sum(seen.received) + seen.capturable_minor <= total_minor, "Stripe took more than was quoted"
    assert len(seen.open_attempts) <= 1, f"several attempts are open: {seen.open_attempts}"
    if seen.received and not seen.capturable_minor:
        assert not seen.open_attempts, f"it is paid, and can be paid once more: {seen.open_attempts}"


def check_settled(
    one: Followed, payment: status_pb2.Payment, plan: pb.PaymentPlan, seen: AtStripe, *, now: datetime
) -> None:
    """Once nothing is under way any more: all that we say is what Stripe has, and each payment has who works on it."""
    _check_amounts(one, payment, seen)
    attention = payment.snapshot.attention.reason
    assert attention not in FAULTS_OF_OURS, f"{attention}: {payment.snapshot.attention.detail}"
    assert list(plan.pending_steps) == [], "a job is left"
    collection = collection_of(payment.snapshot)
    assert plan.revision == payment.revision, "the plan is behind status"
    if one.told.is_forced:
        return
    expected = _expected(seen)
    assert collection in expected, f"it stands at {collection}, and Stripe says {sorted(expected)}"
    _check_somebody_works_on_it(collection, payment, plan, seen, now=now)
    if one.told.is_called_off:
        assert not seen.open_attempts, "it was called off, and can be paid"
        assert collection in (State.CANCELED, State.SUCCEEDED)


def _check_amounts(one: Followed, payment: status_pb2.Payment, seen: AtStripe) -> None:
    amounts, told = payment.snapshot.amounts, one.told
    received, refunded = sum(seen.received), seen.refunded("succeeded")
    if told.is_forced:
        back_minor = refunded - amounts.refunded_minor  # of what is surplus
        assert amounts.captured_minor + amounts.surplus_minor + back_minor == received
        assert amounts.captured_minor in (0, *seen.received)
        return
    ours = (
        amounts.captured_minor,
        amounts.capturable_minor,
        amounts.refunded_minor,
        amounts.refund_pending_minor,
        amounts.surplus_minor,
    )
    theirs = (received, seen.capturable_minor, refunded, seen.refunded("pending"), 0)
    assert ours == theirs, f"captured, capturable, refunded, pending, surplus: {ours}, and at Stripe {theirs}"
    charged = sum(charge["amount_captured"] for charge in seen.charges if charge["status"] == "succeeded")
    assert charged == received
    assert received >= told.captured_minor, "a capture that was answered is not there"
    if not told.has_lost_refund:
        assert sum(refund["amount"] for refund in seen.refunds) == told.refunded_minor
    if one.timing != pb.TIMING_MANUAL_CAPTURE:
        assert received in (0, payment.total.amount_minor), "a part was charged"


def _expected(seen: AtStripe) -> frozenset[State]:
    """Return how far the collection may have come by what Stripe holds."""
    if seen.capturable_minor:
        return frozenset({State.AUTHORIZED})
    if seen.received:
        return frozenset({State.SUCCEEDED})
    if any(intent["status"] == "processing" for intent in seen.intents):
        return frozenset({State.PROCESSING})
    without = frozenset({State.SCHEDULED, State.CANCELED, State.EXPIRED, State.FAILED})
    if seen.asks_for_payer() and seen.open_attempts:
        return without | {State.REQUIRES_ACTION}
    return without | {State.REQUIRES_PAYMENT_METHOD}


def _check_somebody_works_on_it(
    collection: State, payment: status_pb2.Payment, plan: pb.PaymentPlan, seen: AtStripe, *, now: datetime
) -> None:
    """Nothing is open that nobody works on: the payer, a plan whose time comes, or Stripe."""
    if collection in ENDS:
        assert not seen.open_attempts, f"it has ended, and can be paid: {seen.open_attempts}"
        return
    if collection is State.PROCESSING:
        return  # Stripe has it: see `_expected`
    assert plan.next_step, f"{collection}, and its plan does nothing"
    next_time = plan.next_time.ToDatetime(UTC)
    assert next_time > now, f"{plan.next_step} was due {next_time}, and it is {now}"
    if collection in PAYERS_TURN:
        assert plan.next_step == "EXPIRE"
        has_none = payment.snapshot.reason in WITHOUT_ATTEMPT
        assert len(seen.open_attempts) == (0 if has_none else 1), f"the payer has {seen.open_attempts} to pay with"
    if collection is State.SCHEDULED:
        assert plan.next_step == "CHARGE"
        assert not [page for page in seen.pages if page["status"] == "open"]
        assert not [setup for setup in seen.setups if setup["status"] in OPEN_INTENT]


def check_bookings(followed: Sequence[Followed], payments: Mapping[str, status_pb2.Payment]) -> None:
    """At most one payment of a booking is open or has its money."""
    holders: dict[str, set[str]] = {}
    for one in followed:
        amounts = payments[one.payment_id].snapshot.amounts
        is_given_back = 0 < amounts.captured_minor == amounts.refunded_minor and not amounts.capturable_minor
        is_over = collection_of(payments[one.payment_id].snapshot) in ENDS and not amounts.captured_minor
        if one.told.is_forced or is_given_back or is_over:
            continue
        for booking_id in one.booking_ids:
            holders.setdefault(booking_id, set()).add(one.payment_id)
    several = {booking_id: ids for booking_id, ids in holders.items() if len(ids) > 1}
    assert not several, f"several payments of one booking: {several}"

"""What a payment's page shows of each record beside its timeline. Pure: messages in, rows out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from batzen.gateway.v1 import observation_pb2
from batzen.gateway.v1.disputes_pb2 import Dispute
from batzen.gateway.v1.ops_pb2 import Attempt, LedgerEntry
from batzen.gateway.v1.refunds_pb2 import Refund
from batzen.gateway.v1.transfers_pb2 import Transfer
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.orchestrator.v1.orchestrator_pb2 import GetPaymentPlanResponse
from batzen.status.v1.status_pb2 import Payment
from services.console.amounts import sum_of, written
from services.console.payments.shown import Badge, Moment, fact_words, moment, words

TONES: Final = {
    "SUCCEEDED": "good",
    "MADE": "good",
    "PENDING": "busy",
    "FAILED": "bad",
    "REFUSED": "bad",
    "LOST": "bad",
}
"""Of what a refund, a transfer or a dispute has come to; anything else is `quiet`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One object beside the payment: a refund, a transfer, a dispute."""

    name: str
    """Its id with us."""
    stripe_id: str
    kind: str
    state: Badge
    amount: str
    detail: str
    at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt at Stripe."""

    number: int
    kind: str
    state: str
    counts: bool
    amount: str
    moved: str
    method: str
    error: str
    mismatch: str
    stripe_ids: Sequence[tuple[str, str]]
    """What it is, and its id."""
    at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One entry of the ledger."""

    fact: str
    account: str
    debit: str
    credit: str
    at: Moment
    stripe_id: str
    begins: bool
    """Whether it is the first of its transaction."""


def amounts_of(payment: Payment) -> Iterator[tuple[str, str]]:
    """Yield the amounts that are not 0, and the total."""
    currency = payment.total.currency_code
    yield "Total", sum_of(payment.total)
    for descriptor, value in payment.snapshot.amounts.ListFields():
        yield words(descriptor.name.removesuffix("_minor")), written(value, currency)


def facts_of(payment: Payment, answer: GetPaymentPlanResponse) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of it in a few words."""
    yield "Payer", payment.payer_id
    yield "Sellers", ", ".join(payment.seller_ids)
    yield "Bookings", ", ".join(payment.booking_ids)
    yield "Reference", payment.client_reference
    yield "Quote", payment.quote_id
    yield "Opened", moment(payment.open_time).text
    if payment.HasField("complete_time"):
        yield "Collected", moment(payment.complete_time).text
    if payment.snapshot.HasField("hold_expire_time"):
        yield "Hold lapses", moment(payment.snapshot.hold_expire_time).text
    if answer.HasField("plan"):
        plan = answer.plan
        yield "Timing", words(orchestrator_pb2.Timing.Name(plan.timing).removeprefix("TIMING_"))
        yield "Way", words(orchestrator_pb2.Collection.Name(plan.collection).removeprefix("COLLECTION_"))
        if plan.next_step:
            yield "Does next by itself", f"{words(plan.next_step)}, {moment(plan.next_time).text}"
    for name, value in sorted(payment.labels.items()):
        yield f"Label {name}", value


def attempts_of(attempts: Iterable[Attempt]) -> Iterator[AttemptRow]:
    """Yield what was tried."""
    for one in attempts:
        currency = one.amount.currency_code
        ids = (
            ("Intent", one.intent_id),
            ("Charge", one.charge_id),
            ("Page", one.session_id),
            ("Balance", one.balance_transaction_id),
        )
        moved = [
            f"{written(minor, currency)} {word}"
            for minor, word in ((one.captured_minor, "taken"), (one.capturable_minor, "held"))
            if minor
        ]
        error = one.last_error
        yield AttemptRow(
            number=one.attempt,
            kind=words(observation_pb2.AttemptKind.Name(one.kind).removeprefix("ATTEMPT_KIND_")),
            state=words(observation_pb2.IntentState.Name(one.state).removeprefix("INTENT_STATE_")),
            counts=one.counts,
            amount=sum_of(one.amount),
            moved=", ".join(moved),
            method=f"{words(one.method.brand or one.method.type)} {one.method.last4}".strip(),
            error=" · ".join(part for part in (error.decline_code or error.code, one.advice_code) if part),
            mismatch=one.mismatch,
            stripe_ids=[(name, stripe_id) for name, stripe_id in ids if stripe_id],
            at=moment(one.create_time),
        )


def bookings_of(entries: Iterable[LedgerEntry]) -> Iterator[Booking]:
    """Yield what was booked."""
    before = ""
    for one in entries:
        minor, currency = one.amount.amount_minor, one.amount.currency_code
        yield Booking(
            fact=fact_words(one.fact),
            account=one.account,
            debit=written(minor, currency) if minor > 0 else "",
            credit=written(-minor, currency) if minor < 0 else "",
            at=moment(one.record_time),
            stripe_id=one.stripe_id,
            begins=one.transaction_id != before,
        )
        before = one.transaction_id


def refunds_of(refunds: Iterable[Refund]) -> Iterator[Record]:
    """Yield what went back."""
    for one in refunds:
        yield Record(
            name=one.refund_id,
            stripe_id=one.stripe_refund_id,
            kind="Refund",
            state=_badge(Refund.State.Name(one.state)),
            amount=sum_of(one.amount),
            detail=" · ".join(part for part in (one.actor_id and f"by {one.actor_id}", one.failure_reason) if part),
            at=moment(one.create_time),
        )


def transfers_of(transfers: Iterable[Transfer]) -> Iterator[Record]:
    """Yield what sellers had."""
    for one in transfers:
        back = f"{sum_of(one.reversed)} taken back" if one.reversed.amount_minor else ""
        yield Record(
            name=one.transfer_id,
            stripe_id=one.stripe_transfer_id,
            kind="Transfer",
            state=_badge(Transfer.State.Name(one.state)),
            amount=sum_of(one.amount),
            detail=" · ".join(part for part in (f"to {one.seller_id}", back, one.waits_for) if part),
            at=moment(one.create_time),
        )


def disputes_of(disputes: Iterable[Dispute]) -> Iterator[Record]:
    """Yield what is contested."""
    for one in disputes:
        due = f"evidence until {moment(one.evidence_due_time).text}" if one.HasField("evidence_due_time") else ""
        yield Record(
            name=one.dispute_id,
            stripe_id=one.dispute_id,
            kind="Inquiry" if one.inquiry else "Dispute",
            state=_badge(Dispute.State.Name(one.state)),
            amount=sum_of(one.amount),
            detail=" · ".join(part for part in (words(one.reason), due) if part),
            at=moment(one.create_time),
        )


def _badge(name: str) -> Badge:
    word = name.removeprefix("STATE_")
    return Badge(words(word), TONES.get(word, "quiet"))

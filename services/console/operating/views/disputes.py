"""Disputes: what is contested, until when an answer is due, and with which evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from batzen.gateway.v1.disputes_pb2 import Dispute
from services.console.amounts import written
from services.console.operating import cells
from services.console.operating.blocks import (
    Block,
    Cell,
    Column,
    Empty,
    Fact,
    Facts,
    Field,
    Form,
    Later,
    Option,
    Row,
    Table,
    Tone,
)

GIVE_UP: Final = "accept-dispute"
"""The action on a payment that gives one of its disputes up."""
PATH: Final = "/disputes"
SOON: Final = timedelta(days=3)
"""How near a due date is shown as pressing."""
STATES: Final[Mapping[int, tuple[str, Tone]]] = {
    Dispute.STATE_NEEDS_RESPONSE: ("Needs response", Tone.BAD),
    Dispute.STATE_UNDER_REVIEW: ("Under review", Tone.WARN),
    Dispute.STATE_WON: ("Won", Tone.GOOD),
    Dispute.STATE_LOST: ("Lost", Tone.BAD),
    Dispute.STATE_CLOSED: ("Closed", Tone.QUIET),
    Dispute.STATE_PREVENTED: ("Prevented", Tone.QUIET),
    Dispute.STATE_APPEAL_NEEDS_RESPONSE: ("Appeal needs response", Tone.BAD),
    Dispute.STATE_APPEAL_UNDER_REVIEW: ("Appeal under review", Tone.WARN),
}
ANSWERABLE: Final = frozenset({Dispute.STATE_NEEDS_RESPONSE, Dispute.STATE_APPEAL_NEEDS_RESPONSE})
SHOWS: Final[Mapping[str, tuple[Dispute.State, ...]]] = {
    "answer": (Dispute.STATE_NEEDS_RESPONSE, Dispute.STATE_APPEAL_NEEDS_RESPONSE),
    "review": (Dispute.STATE_UNDER_REVIEW, Dispute.STATE_APPEAL_UNDER_REVIEW),
    "won": (Dispute.STATE_WON,),
    "lost": (Dispute.STATE_LOST,),
}
EVIDENCE: Final[Mapping[str, str]] = {
    "product_description": "What was sold",
    "customer_communication": "What was said with the payer (file)",
    "uncategorized_text": "Anything else",
    "access_activity_log": "Log of use",
    "cancellation_policy_disclosure": "How the terms of cancelling were shown",
    "refund_refusal_explanation": "Why nothing was refunded",
    "service_date": "When the service was rendered",
    "receipt": "Receipt (file)",
}
"""Stripe's fields that the form asks for, and their labels; a file is named by its id, `file_…`."""
AREAS: Final = frozenset(
    {
        "product_description",
        "uncategorized_text",
        "access_activity_log",
        "cancellation_policy_disclosure",
        "refund_refusal_explanation",
    }
)
EVIDENCE_CHARACTERS_MAX: Final = 20_000
COLUMNS: Final = (
    Column(title="Dispute"),
    Column(title="State"),
    Column(title="Answer due"),
    Column(title="Payment"),
    Column(title="Contested", is_number=True),
    Column(title="Withdrawn now", is_number=True),
    Column(title="Reason"),
    Column(title="Evidence"),
    Column(title="Began"),
)
NONE: Final = Empty(title="No disputes.", hint="Charges that a payer's bank contests are listed here.")
NONE_SUCH: Final = Empty(title="No dispute fits.", hint="Take a filter away to see the others.")


def filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return what may be asked for."""
    shows = {
        "": "All",
        "open": "Open",
        "answer": "Wait for our answer",
        "review": "With the bank",
        "won": "Won",
        "lost": "Lost",
    }
    return (
        Field(
            name="show",
            label="Show",
            kind="select",
            value=query.get("show", ""),
            options=[Option(value=value, text=text) for value, text in shows.items()],
        ),
        Field(name="due", label="Due before", kind="date", value=query.get("due", "")),
        Field(name="payment", label="Payment", value=query.get("payment", "")),
    )


def table(disputes: Iterable[Dispute], *, now: datetime, is_filtered: bool) -> Table:
    """Return disputes as a table."""
    return Table(
        key="disputes",
        caption="Disputes, the newest first",
        columns=COLUMNS,
        rows=tuple(_row(one, now) for one in disputes),
        empty=NONE_SUCH if is_filtered else NONE,
    )


def details(dispute: Dispute, *, now: datetime, may_act: bool) -> tuple[Block, ...]:
    """Return what is known of one; its evidence is read at Stripe, later."""
    facts = Facts(
        key="dispute",
        title="What is contested",
        facts=(
            Fact(name="State", value=state(dispute)),
            Fact(name="Answer due", value=_due(dispute, now)),
            Fact(name="Contested", value=cells.amount(dispute.amount)),
            Fact(name="Withdrawn and not given back", value=cells.amount(dispute.outstanding)),
            Fact(name="Payment", value=cells.payment(dispute.payment_id)),
            Fact(name="Attempt", value=cells.count(dispute.attempt)),
            Fact(name="Charge", value=cells.code(dispute.charge_id)),
            Fact(
                name="Reason", value=cells.said(cells.word(dispute.reason), note=_network(dispute.network_reason_code))
            ),
            Fact(name="Began", value=cells.moment(dispute.create_time, now=now)),
            Fact(name="Handed in", value=_handed_in(dispute)),
            Fact(name="Evidence by", value=cells.said(dispute.evidence_actor_id)),
            Fact(name="Given up by", value=cells.said(dispute.accept_actor_id)),
        ),
    )
    return (
        facts,
        Later(key="evidence", title="Evidence at Stripe", url=f"{PATH}/{dispute.dispute_id}/evidence"),
        _movements(dispute, now),
        *(_forms(dispute) if may_act and dispute.state in ANSWERABLE else ()),
    )


def evidence(dispute: Dispute) -> Table:
    """Return the evidence that is at Stripe, drafted or handed in."""
    return Table(
        key="evidence",
        caption="Evidence at Stripe",
        columns=(Column(title="Field"), Column(title="What it says", is_wide=True)),
        rows=tuple(
            Row(
                key=name,
                cells=(Cell(text=EVIDENCE.get(name, cells.word(name)), note=name, raw=name), cells.said(text)),
            )
            for name, text in sorted(dispute.evidence.items())
            if text
        ),
        empty=Empty(title="No evidence was drafted.", hint="A draft is kept at Stripe until it is handed in."),
    )


def state(dispute: Dispute) -> Cell:
    """Return how far a dispute has come."""
    text, tone = STATES.get(dispute.state, (cells.word(dispute.stripe_status) or "Not known", Tone.PLAIN))
    return cells.badge(f"Inquiry: {text[0].lower()}{text[1:]}" if dispute.inquiry else text, tone)


def _row(dispute: Dispute, now: datetime) -> Row:
    return Row(
        key=dispute.dispute_id,
        cells=(
            cells.code(dispute.dispute_id, href=f"{PATH}/{dispute.dispute_id}"),
            state(dispute),
            _due(dispute, now),
            cells.payment(dispute.payment_id),
            cells.amount(dispute.amount),
            cells.amount(dispute.outstanding),
            cells.said(cells.word(dispute.reason), note=_network(dispute.network_reason_code)),
            _handed_in(dispute),
            cells.moment(dispute.create_time),
        ),
    )


def _network(network_code: str) -> str:
    return f"network code {network_code}" if network_code else ""


def _due(dispute: Dispute, now: datetime) -> Cell:
    if dispute.state not in ANSWERABLE:
        return cells.said("")
    if not dispute.HasField("evidence_due_time"):
        return cells.said("No date")
    is_pressing = cells.instant(dispute.evidence_due_time) - now < SOON
    return cells.moment(dispute.evidence_due_time, now=now, tone=Tone.BAD if is_pressing else Tone.WARN)


def _handed_in(dispute: Dispute) -> Cell:
    if dispute.submission_count:
        note = "too late: the bank may not read it" if dispute.past_due else ""
        return cells.badge("Handed in", Tone.WARN if dispute.past_due else Tone.GOOD, note=note)
    return cells.badge("Drafted", Tone.WARN) if dispute.has_evidence else cells.said("None")


def _movements(dispute: Dispute, now: datetime) -> Table:
    return Table(
        key="movements",
        caption="What it moved on the platform's balance",
        columns=(
            Column(title="Balance transaction"),
            Column(title="Amount", is_number=True),
            Column(title="Stripe's fee", is_number=True),
            Column(title="Booked"),
            Column(title="Kind"),
        ),
        rows=tuple(
            Row(
                key=one.balance_transaction_id,
                cells=(
                    cells.code(one.balance_transaction_id),
                    cells.amount(one.amount),
                    cells.amount(one.fee),
                    cells.moment(one.create_time, now=now),
                    cells.said(cells.word(one.reporting_category)),
                ),
            )
            for one in dispute.movements
        ),
        empty=Empty(title="Nothing was moved.", hint="An inquiry moves nothing; a movement may come after its state."),
    )


def _forms(dispute: Dispute) -> tuple[Form, ...]:
    fields = tuple(
        Field(
            name=f"evidence.{name}",
            label=label,
            kind="area" if name in AREAS else "text",
            characters_max=EVIDENCE_CHARACTERS_MAX,
        )
        for name, label in EVIDENCE.items()
    )
    base = f"{PATH}/{dispute.dispute_id}"
    forms = (
        Form(
            key="draft",
            title="Draft evidence",
            action=f"{base}/evidence",
            submit="Keep as a draft at Stripe",
            consequence="Fields that are left empty stay as they are. The bank sees nothing yet.",
            fields=fields,
        ),
        Form(
            key="submit",
            title="Hand the evidence in",
            action=f"{base}/submit",
            submit="Hand it in, for good",
            consequence="The bank gets what is drafted. It cannot be taken back.",
            fields=(_typed(dispute, "I have read the draft above"),),
            tone=Tone.WARN,
        ),
    )
    return forms if dispute.inquiry or not dispute.payment_id else (*forms, _accept(dispute))


def _accept(dispute: Dispute) -> Form:
    lost = written(dispute.amount.amount_minor, dispute.amount.currency_code)
    return Form(
        key="accept",
        title="Give the dispute up",
        action=f"/payments/{dispute.payment_id}/{GIVE_UP}",
        submit=f"See what giving up {lost} means",
        consequence=f"{lost} is the payer's for good, and the dispute is lost. Nothing is done before it is confirmed.",
        fields=(Field(name="dispute", label="", kind="hidden", value=dispute.dispute_id),),
        tone=Tone.BAD,
        method="get",
    )


def _typed(dispute: Dispute, label: str) -> Field:
    return Field(
        name="typed",
        label=f"{label}: type {dispute.dispute_id}",
        is_required=True,
        wanted=dispute.dispute_id,
        characters_max=100,
    )

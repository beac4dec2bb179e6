"""What needs an operator, and who looks after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from batzen.orchestrator.v1.ops_pb2 import AttentionItem
from batzen.type.v1.payment_pb2 import PaymentSnapshot
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
    Option,
    Row,
    Table,
    Tone,
)

PATH: Final = "/attention"
SHOWS: Final = {"": "Open", "unowned": "Nobody looks after", "all": "Also resolved"}
COLUMNS: Final = (
    Column(title="Reason"),
    Column(title="Payment"),
    Column(title="What is needed", is_wide=True),
    Column(title="Since"),
    Column(title="Looked after by"),
    Column(title="Stands"),
)
NONE: Final = Empty(title="Nothing needs an operator.", hint="What does would be raised here, the newest first.")
NONE_SUCH: Final = Empty(title="Nothing fits.", hint="Take a filter away to see the rest.")
_CAUSES: Final = {
    PaymentSnapshot.CAUSE_OPERATOR: "by an operator",
    PaymentSnapshot.CAUSE_OBSERVATION: "by what was seen at Stripe",
}


def filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return what may be asked for."""
    return (
        Field(
            name="show",
            label="Show",
            kind="select",
            value=query.get("show", ""),
            options=[Option(value=value, text=text) for value, text in SHOWS.items()],
        ),
        Field(name="reason", label="Reason", value=query.get("reason", ""), hint="Such as DISPUTE_DUE"),
        Field(name="payment", label="Payment", value=query.get("payment", "")),
    )


def table(items: Iterable[AttentionItem], *, now: datetime, is_filtered: bool) -> Table:
    """Return them as a table."""
    return Table(
        key="attention",
        caption="What needs an operator, the newest first",
        columns=COLUMNS,
        rows=tuple(_row(one, now) for one in items),
        empty=NONE_SUCH if is_filtered else NONE,
    )


def details(item: AttentionItem, *, now: datetime, may_act: bool) -> tuple[Block, ...]:
    """Return all that is known of one."""
    facts = Facts(
        key="item",
        title=cells.word(item.reason),
        facts=(
            Fact(name="Stands", value=_stands(item)),
            Fact(name="What is needed", value=cells.said(item.detail)),
            Fact(name="Payment", value=cells.payment(item.payment_id)),
            Fact(name="Raised", value=cells.moment(item.raise_time, now=now)),
            Fact(name="By revision", value=cells.count(item.raise_revision)),
            Fact(name="Last changed", value=cells.moment(item.change_time, now=now)),
            Fact(name="Looked after by", value=_owner(item)),
            Fact(name="Resolved", value=cells.moment(item.resolve_time, now=now)),
        ),
    )
    is_open = not item.HasField("resolve_time")
    return (facts, acknowledge_form(item)) if is_open and may_act else (facts,)


def acknowledge_form(item: AttentionItem) -> Form:
    """Return how one says that one looks after it."""
    return Form(
        key="acknowledge",
        title="Look after it",
        action=f"{PATH}/{item.payment_id}/{item.item_id}/acknowledge",
        submit="I look after it",
        consequence="Other operators see your name and note, until it says something else or is resolved. "
        "Nothing else happens.",
        fields=(Field(name="note", label="Note for other operators", kind="area"),),
        is_open=True,
    )


def _row(item: AttentionItem, now: datetime) -> Row:
    return Row(
        key=item.item_id,
        cells=(
            Cell(text=cells.word(item.reason), href=f"{PATH}/{item.payment_id}/{item.item_id}", raw=item.reason),
            cells.payment(item.payment_id),
            cells.said(item.detail),
            cells.moment(item.raise_time, now=now),
            _owner(item),
            _stands(item),
        ),
    )


def _owner(item: AttentionItem) -> Cell:
    return cells.said(item.acknowledged_by, note=item.note) if item.acknowledged_by else cells.said("")


def _stands(item: AttentionItem) -> Cell:
    if item.HasField("resolve_time"):
        note = f"{_CAUSES.get(item.resolve_cause, 'by its plan')}, {cells.at(cells.instant(item.resolve_time))}"
        return cells.badge("Resolved", Tone.GOOD, note=note)
    return cells.badge("Looked after", Tone.WARN) if item.acknowledged_by else cells.badge("Open", Tone.BAD)

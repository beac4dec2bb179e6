"""The price book: what stands, and what stood before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from batzen.pricing.v1.price_book_pb2 import AdjustmentDirection, Discount, FeePlan, Funder, Revision, TaxRate
from batzen.type.v1.money_pb2 import Money
from services.console.amounts import written
from services.console.operating import cells
from services.console.operating.blocks import (
    Cell,
    CellKind,
    Column,
    Empty,
    Field,
    Option,
    Row,
    Table,
    Tone,
)
from services.console.operating.drafts import Entry

PATH: Final = "/price-book"
_REVISED: Final = (
    Column(title="Revision", is_number=True),
    Column(title="Changed by"),
    Column(title="Why", is_wide=True),
    Column(title="When"),
)


def filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return what may be asked for."""
    return (
        Field(
            name="history",
            label="Show",
            kind="select",
            value=query.get("history", ""),
            options=[Option(value="", text="What stands"), Option(value="all", text="Every revision there was")],
        ),
    )


def tax_rates(rates: Iterable[TaxRate], *, now: datetime) -> Table:
    """Return VAT rates as a table."""
    return Table(
        key="tax-rates",
        caption="VAT rates, by country, category and date",
        columns=(
            Column(title="Country"),
            Column(title="Category"),
            Column(title="From"),
            Column(title="Rate", is_number=True),
            Column(title="Source", is_wide=True),
            *_REVISED,
        ),
        rows=tuple(
            Row(
                key=f"{key_of(one)}.{one.revision.number}",
                cells=(
                    Cell(text=one.country, href=path_of(one)),
                    cells.said(cells.word(one.tax_category)),
                    cells.said(one.effective_from),
                    _percent(one.rate_percent),
                    cells.said(one.source),
                    *_revised(one.revision, now),
                ),
            )
            for one in rates
        ),
        empty=Empty(title="The price book has no VAT rates."),
    )


def fee_plans(plans: Iterable[FeePlan], *, now: datetime) -> Table:
    """Return fee plans as a table."""
    return Table(
        key="fee-plans",
        caption="Fee plans, by id",
        columns=(
            Column(title="Fee plan"),
            Column(title="For"),
            Column(title="Fee"),
            Column(title="Least", is_number=True),
            Column(title="Most", is_number=True),
            Column(title="Stands"),
            *_REVISED,
        ),
        rows=tuple(
            Row(
                key=f"{one.fee_plan_id}.{one.revision.number}",
                cells=(
                    cells.code(one.fee_plan_id, href=path_of(one)),
                    cells.said(one.seller_id or "Everybody", note=one.currency_code),
                    cells.said(_fee(one)),
                    _optional(one.minimum, is_set=one.HasField("minimum")),
                    _optional(one.maximum, is_set=one.HasField("maximum")),
                    _stands(is_retired=one.retired, note=f"from {cells.at(cells.instant(one.effective_from))}"),
                    *_revised(one.revision, now),
                ),
            )
            for one in plans
        ),
        empty=Empty(title="The price book has no fee plans."),
    )


def discounts(found: Iterable[Discount], *, now: datetime) -> Table:
    """Return discounts, surcharges and coupons as a table."""
    return Table(
        key="discounts",
        caption="Discounts, surcharges and coupons, by id",
        columns=(
            Column(title="Id"),
            Column(title="Code"),
            Column(title="What"),
            Column(title="Paid by"),
            Column(title="Held now", is_number=True),
            Column(title="Used", is_number=True),
            Column(title="Until"),
            Column(title="Stands"),
            *_REVISED,
        ),
        rows=tuple(
            Row(
                key=f"{one.discount_id}.{one.revision.number}",
                cells=(
                    cells.code(one.discount_id, href=path_of(one)),
                    cells.code(one.code),
                    cells.said(_worth(one)),
                    cells.said("The platform" if one.funder == Funder.FUNDER_PLATFORM else "The sellers"),
                    cells.count(one.held_count),
                    cells.count(one.redeemed_count),
                    cells.moment(one.valid_until, now=now),
                    _stands(is_retired=one.retired),
                    *_revised(one.revision, now),
                ),
            )
            for one in found
        ),
        empty=Empty(title="There are no discounts, surcharges or coupons."),
    )


def key_of(entry: Entry) -> str:
    """Return how an entry is named in addresses."""
    match entry:
        case TaxRate():
            return f"{entry.country}.{entry.tax_category}.{entry.effective_from}"
        case FeePlan():
            return entry.fee_plan_id
        case Discount():
            return entry.discount_id


def path_of(entry: Entry) -> str:
    """Return where an entry has its page."""
    match entry:
        case TaxRate():
            return f"{PATH}/tax-rates/{key_of(entry)}"
        case FeePlan():
            return f"{PATH}/fee-plans/{key_of(entry)}"
        case Discount():
            return f"{PATH}/discounts/{key_of(entry)}"


def _revised(revision: Revision, now: datetime) -> tuple[Cell, ...]:
    return (
        cells.count(revision.number),
        cells.said(revision.actor),
        cells.said(revision.change_reason),
        cells.moment(revision.create_time, now=now),
    )


def _percent(text: str) -> Cell:
    return Cell(text=f"{text}\N{NO-BREAK SPACE}%", kind=CellKind.NUMBER, raw=text)


def _optional(amount: Money, *, is_set: bool) -> Cell:
    return cells.amount(amount) if is_set else cells.said("")


def _stands(*, is_retired: bool, note: str = "") -> Cell:
    return cells.badge("Retired", Tone.QUIET) if is_retired else cells.badge("Used", Tone.GOOD, note=note)


def _fee(plan: FeePlan) -> str:
    if plan.tiers:
        return f"{len(plan.tiers)} tiers"
    parts = [f"{plan.percent}\N{NO-BREAK SPACE}%"] if plan.percent else []
    if plan.HasField("fixed"):
        parts.append(written(plan.fixed.amount_minor, plan.fixed.currency_code))
    return " + ".join(parts)


def _worth(discount: Discount) -> str:
    is_more = discount.direction == AdjustmentDirection.ADJUSTMENT_DIRECTION_SURCHARGE
    worth = (
        f"{discount.percent}\N{NO-BREAK SPACE}%"
        if discount.WhichOneof("value") == "percent"
        else written(discount.fixed.amount_minor, discount.fixed.currency_code)
    )
    return f"{worth} {'more' if is_more else 'less'}"

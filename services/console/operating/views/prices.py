"""The price book: what stands, what stood before, and what a change would do to a sample cart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from batzen.pricing.v1.price_book_pb2 import AdjustmentDirection, Discount, FeePlan, Funder, Revision, TaxRate
from batzen.pricing.v1.pricing_pb2 import Quote, QuoteRow, RowKind
from batzen.type.v1.money_pb2 import Money
from services.console.amounts import plain, written
from services.console.operating import cells
from services.console.operating.blocks import (
    Cell,
    CellKind,
    Column,
    Empty,
    Field,
    Form,
    Note,
    Option,
    Row,
    Table,
    Tile,
    Tiles,
    Tone,
)
from services.console.operating.drafts import KINDS, LINES, Entry, last_day

PATH: Final = "/price-book"
_REVISED: Final = (
    Column(title="Revision", is_number=True),
    Column(title="Changed by"),
    Column(title="Why", is_wide=True),
    Column(title="When"),
)
_ROWS: Final[Mapping[int, str]] = {
    RowKind.ROW_KIND_LINE: "Line",
    RowKind.ROW_KIND_ADJUSTMENT: "Discount or surcharge",
    RowKind.ROW_KIND_VAT: "VAT",
    RowKind.ROW_KIND_PLATFORM_FEE: "Platform fee",
    RowKind.ROW_KIND_PLATFORM_FEE_VAT: "VAT on the fee",
}


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


def try_form(entry: Entry, given: Mapping[str, str]) -> Form:
    """Return how a change is tried on a sample cart; `given` is what was filled in before."""
    return Form(
        key="try",
        title="Try a change on a sample cart",
        action=f"{path_of(entry)}/try",
        submit="Show what it would do",
        consequence="Nothing is saved: the cart is priced twice, as things stand and with the change.",
        fields=(*_change(entry, given), *_cart(given)),
        is_open=True,
        method="get",
    )


def put_form(entry: Entry, given: Mapping[str, str]) -> Form:
    """Return how a change that was tried is put into the price book."""
    return Form(
        key="put",
        title="Put the change into the price book",
        action=f"{path_of(entry)}/put",
        submit="Put it",
        consequence="It holds for quotes made from then on. Quotes that exist keep what they were made with. "
        "Nothing is overwritten: it is a further revision.",
        fields=(
            *(Field(name=one.name, label="", kind="hidden", value=one.value) for one in _change(entry, given)),
            Field(name="expected", label="", kind="hidden", value=str(entry.revision.number)),
            Field(name="reason", label="Reason", kind="area", is_required=True, hint="Kept for ever."),
        ),
        tone=Tone.WARN,
        is_open=True,
    )


def comparison(before: Quote, after: Quote) -> tuple[Tiles, Table, Table]:
    """Return what a change does to a cart."""
    return _totals(before, after), _rows(before, after), _sellers(before, after)


def unchanged() -> Note:
    """Return that a change does nothing to a cart."""
    return Note(title="This cart costs the same.", text="The change does nothing to what is in it.")


def _totals(before: Quote, after: Quote) -> Tiles:
    was, will = before.total.amount_minor, after.total.amount_minor
    return Tiles(
        key="totals",
        title="What the payer pays",
        tiles=(
            Tile(name="As things stand", value=written(was, before.currency_code)),
            Tile(name="With the change", value=written(will, after.currency_code)),
            Tile(
                name="Difference",
                value=_more(will - was, before.currency_code),
                note="for the payer",
                tone=Tone.WARN if will != was else Tone.GOOD,
            ),
        ),
    )


def _rows(before: Quote, after: Quote) -> Table:
    was, will = ({_name(row): row.amount_minor for row in quote.rows} for quote in (before, after))
    names = list(dict.fromkeys((*was, *will)))
    return _compared(
        "Breakdown", "Row", [(name, was.get(name), will.get(name)) for name in names], before.currency_code
    )


def _sellers(before: Quote, after: Quote) -> Table:
    was, will = ({one.seller_id: one.seller_share_minor for one in quote.sellers} for quote in (before, after))
    kept, keeps = (sum(one.platform_share_minor for one in quote.sellers) for quote in (before, after))
    pairs: list[tuple[str, int | None, int | None]] = [
        (f"Seller {name}", was.get(name), will.get(name)) for name in dict.fromkeys((*was, *will))
    ]
    return _compared("Who gets what", "Who", [*pairs, ("The platform", kept, keeps)], before.currency_code)


def _compared(caption: str, head: str, pairs: Sequence[tuple[str, int | None, int | None]], currency: str) -> Table:
    def amount(value: int | None) -> Cell:
        if value is None:
            return cells.said("")
        return cells.amount(Money(amount_minor=value, currency_code=currency))

    return Table(
        key=caption.lower().replace(" ", "-"),
        caption=caption,
        columns=(
            Column(title=head),
            Column(title="As things stand", is_number=True),
            Column(title="With the change", is_number=True),
            Column(title="Difference", is_number=True),
        ),
        rows=tuple(
            Row(
                key=name,
                cells=(
                    cells.said(name),
                    amount(was),
                    amount(will),
                    Cell(
                        text=_more((will or 0) - (was or 0), currency),
                        tone=Tone.QUIET if (will or 0) == (was or 0) else Tone.WARN,
                        raw=f"{plain((will or 0) - (was or 0), currency)} {currency}",
                    ),
                ),
            )
            for name, was, will in pairs
        ),
        empty=Empty(title="Nothing to compare."),
    )


def _name(row: QuoteRow) -> str:
    about = row.line_id or row.adjustment_id or row.seller_id or " ".join(filter(None, (row.country, row.tax_category)))
    return f"{_ROWS.get(row.kind, 'Row')}: {about}" if about else _ROWS.get(row.kind, "Row")


def _more(amount_minor: int, currency: str) -> str:
    if not amount_minor:
        return "No change"
    return f"{'+' if amount_minor > 0 else ''}{written(amount_minor, currency)}"


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


def _typed(amount: Money) -> str:
    """Return an amount as one types it."""
    return f"{plain(amount.amount_minor, amount.currency_code)} {amount.currency_code}"


def _change(entry: Entry, given: Mapping[str, str]) -> tuple[Field, ...]:
    def text(name: str, label: str, now: str, hint: str = "") -> Field:
        return Field(name=name, label=label, value=given.get(name, "") if given else now, hint=hint)

    def amount(name: str, label: str) -> Field:
        now = _typed(getattr(entry, name)) if entry.HasField(name) else ""
        return text(name, label, now, hint="Such as 5.00 CHF")

    def retired(*, now: bool) -> Field:
        value = given.get("retired", "") if given else "on" if now else ""
        return Field(name="retired", label="Retired: not used for new quotes", kind="check", value=value)

    match entry:
        case TaxRate():
            return (
                text("percent", "Rate in percent", entry.rate_percent),
                Field(name="from", label="From", kind="date", value=given.get("from") or entry.effective_from),
                text("source", "Source", entry.source),
            )
        case FeePlan() if entry.tiers:
            return (retired(now=entry.retired),)
        case FeePlan():
            return (
                text("percent", "Percent", entry.percent),
                amount("fixed", "Fixed part"),
                amount("minimum", "Least"),
                amount("maximum", "Most"),
                retired(now=entry.retired),
            )
        case Discount():
            value = text("percent", "Percent", entry.percent) if entry.percent else amount("fixed", "Amount")
            return (
                value,
                amount("cap", "At most"),
                amount("minimum_spend", "For at least"),
                Field(
                    name="until",
                    label="Until the end of",
                    kind="date",
                    value=given.get("until", "") if given else last_day(entry),
                ),
                retired(now=entry.retired),
            )


def _cart(given: Mapping[str, str]) -> tuple[Field, ...]:
    fields = []
    for number in LINES:
        fields += [
            Field(
                name=f"amount.{number}",
                label=f"Cart, line {number}: price of one",
                value=given.get(f"amount.{number}", "" if given or number != "1" else "100.00 CHF"),
                hint="With its VAT, such as 100.00 CHF" if number == "1" else "Empty for no second line",
                is_required=number == "1",
            ),
            Field(
                name=f"quantity.{number}", label=f"Line {number}: how many", value=given.get(f"quantity.{number}", "1")
            ),
            Field(
                name=f"seller.{number}",
                label=f"Line {number}: seller",
                value=given.get(f"seller.{number}", ""),
                hint="Empty for one without a plan of its own",
            ),
            Field(
                name=f"kind.{number}",
                label=f"Line {number}: kind",
                kind="select",
                value=given.get(f"kind.{number}", "session"),
                options=[Option(value=key, text=key.capitalize()) for key in KINDS],
            ),
            Field(
                name=f"category.{number}",
                label=f"Line {number}: VAT category",
                value=given.get(f"category.{number}", ""),
                hint="Empty for standard",
            ),
            Field(
                name=f"country.{number}", label=f"Line {number}: country", value=given.get(f"country.{number}", "CH")
            ),
        ]
    return (
        *fields,
        Field(name="coupon", label="Coupon code", value=given.get("coupon", "")),
        Field(name="day", label="Day of the service", kind="date", value=given.get("day", "")),
    )

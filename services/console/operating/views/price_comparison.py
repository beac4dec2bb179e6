"""What a change of the price book would do to a sample cart: priced twice, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from batzen.pricing.v1.pricing_pb2 import Quote, QuoteRow, RowKind
from batzen.type.v1.money_pb2 import Money
from services.console.amounts import plain, written
from services.console.operating import cells
from services.console.operating.blocks import Cell, Column, Empty, Note, Row, Table, Tile, Tiles, Tone

_ROWS: Final[Mapping[int, str]] = {
    RowKind.ROW_KIND_LINE: "Line",
    RowKind.ROW_KIND_ADJUSTMENT: "Discount or surcharge",
    RowKind.ROW_KIND_VAT: "VAT",
    RowKind.ROW_KIND_PLATFORM_FEE: "Platform fee",
    RowKind.ROW_KIND_PLATFORM_FEE_VAT: "VAT on the fee",
}


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

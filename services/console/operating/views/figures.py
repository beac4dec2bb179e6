"""What payments came to: charts over days, and tables that say the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from batzen.orchestrator.v1.ops_pb2 import PaymentFigures
from services.console.amounts import digits_of, plain, written
from services.console.operating import cells
from services.console.operating.blocks import (
    Block,
    Cell,
    CellKind,
    Chart,
    Column,
    Empty,
    Field,
    Line,
    Option,
    Row,
    Table,
    Tile,
    Tiles,
    Tone,
)

PATH: Final = "/figures"
SPANS: Final = {"": 30, "7": 7, "90": 90, "365": 365}
"""Days."""
DECLINES_SHOWN_MAX: Final = 12
NONE: Final = Empty(
    title="Nothing happened in these days.",
    hint="Figures are kept as payments move; imported payments are not among them.",
)
_FIGURES: Final = (
    Column(title="Currency"),
    Column(title="Started", is_number=True),
    Column(title="Converted", is_number=True),
    Column(title="Conversion", is_number=True),
    Column(title="Paid", is_number=True),
    Column(title="Revenue", is_number=True),
    Column(title="Refunded", is_number=True),
    Column(title="Declines", is_number=True),
    Column(title="Time to pay, median", is_number=True),
    Column(title="Nine in ten within", is_number=True),
)


def span_filter(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return over which days figures may be asked for."""
    days = {"7": "7 days", "": "30 days", "90": "90 days", "365": "A year"}
    return (
        Field(
            name="days",
            label="Over",
            kind="select",
            value=query.get("days", ""),
            options=[Option(value=value, text=text) for value, text in days.items()],
        ),
    )


def filters(query: Mapping[str, str], currencies: Sequence[str]) -> tuple[Field, ...]:
    """Return what may be asked for of days."""
    return (
        *span_filter(query),
        Field(
            name="currency",
            label="Currency of the charts",
            kind="select",
            value=query.get("currency", ""),
            options=[Option(value=one, text=one) for one in currencies],
        ),
        Field(name="seller", label="Seller", value=query.get("seller", ""), characters_max=128),
    )


def span(query: Mapping[str, str], today: date) -> tuple[str, str]:
    """Return the first and the last day that are asked for."""
    days = SPANS.get(query.get("days", ""), SPANS[""])
    return (today - timedelta(days=days - 1)).isoformat(), today.isoformat()


def charts(rows: Sequence[PaymentFigures], *, currency: str, first: str, last: str) -> tuple[Block, ...]:
    """Return the figures of one currency day by day, as tiles and charts; a day without a row is a day of zeros."""
    by_day = {row.date: row for row in rows if row.currency_code == currency}
    days = days_of(first, last)
    found = [by_day.get(day, PaymentFigures(currency_code=currency)) for day in days]
    if not by_day:
        return ()
    return (_tiles(found, currency), _counts(days, found), _money(days, found, currency))


def days_of(first: str, last: str) -> list[str]:
    """Return the days of a span, its last one included."""
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return [(begin + timedelta(days=place)).isoformat() for place in range((end - begin).days + 1)]


def by_day(rows: Iterable[PaymentFigures]) -> Table:
    """Return the figures of each day."""
    return _table(
        "by-day", "By day, the newest first", "Day", [(day_of(row.date), row) for row in reversed(list(rows))]
    )


def by_seller(rows: Iterable[PaymentFigures]) -> Table:
    """Return the figures of each seller."""
    return _table("by-seller", "By seller", "Seller", [(cells.code(row.seller_id), row) for row in rows])


def by_method(rows: Iterable[PaymentFigures]) -> Table:
    """Return the figures of each type of method."""
    pairs = [(cells.said(cells.word(row.method_type) or "Not known"), row) for row in rows]
    return _table("by-method", "By method", "Method", pairs)


def declines(rows: Iterable[PaymentFigures]) -> Table:
    """Return why banks and Stripe declined, the most frequent first."""
    counts: dict[str, int] = {}
    for row in rows:
        for one in row.declines:
            counts[one.code] = counts.get(one.code, 0) + one.count
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:DECLINES_SHOWN_MAX]
    return Table(
        key="declines",
        caption="Declines by code, the most frequent first",
        columns=(
            Column(title="Code"),
            Column(title="Declines", is_number=True),
            Column(title="Of all", is_number=True),
        ),
        rows=tuple(
            Row(
                key=name,
                cells=(Cell(text=cells.word(name), note=name, raw=name), cells.count(number), share(number, total)),
            )
            for name, number in ordered
        ),
        empty=Empty(title="No declines in these days."),
    )


def share(part: int, whole: int) -> Cell:
    """Return a part of a whole in percent, to one digit, by integers."""
    if not whole:
        return Cell(text=cells.NOTHING, kind=CellKind.NUMBER, tone=Tone.QUIET)
    tenths = (part * 2_000 + whole) // (2 * whole)
    text = f"{tenths // 10}.{tenths % 10}"
    return Cell(text=f"{text}\N{NO-BREAK SPACE}%", kind=CellKind.NUMBER, raw=text)


def length(seconds: int) -> Cell:
    """Return how long something took."""
    if not seconds:
        return Cell(text=cells.NOTHING, kind=CellKind.NUMBER, tone=Tone.QUIET)
    minutes, rest = divmod(seconds, 60)
    text = f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    return Cell(text=text.replace(" ", "\N{NO-BREAK SPACE}"), kind=CellKind.NUMBER, raw=str(seconds))


def currencies_of(rows: Iterable[PaymentFigures]) -> list[str]:
    """Return the currencies that occur, the one with the most started payments first."""
    started: dict[str, int] = {}
    for row in rows:
        started[row.currency_code] = started.get(row.currency_code, 0) + row.started_count + row.paid_count
    return sorted(started, key=lambda code: (-started[code], code))


def day_of(text: str) -> Cell:
    """Return a day."""
    day = date.fromisoformat(text)
    return Cell(text=f"{day.day} {day:%b %Y}", kind=CellKind.TIME, raw=text)


def _tiles(found: Sequence[PaymentFigures], currency: str) -> Tiles:
    started, converted = sum(one.started_count for one in found), sum(one.converted_count for one in found)
    revenue, refunded = sum(one.revenue_minor for one in found), sum(one.refunded_minor for one in found)
    return Tiles(
        key="in-short",
        title=f"In short, in {currency}",
        tiles=(
            Tile(name="Revenue", value=written(revenue, currency), note=f"{written(refunded, currency)} refunded"),
            Tile(name="Started", value=cells.count(started).text),
            Tile(name="Conversion", value=share(converted, started).text, note="of started payments, paid since"),
            Tile(name="Declines", value=cells.count(sum(one.declined_count for one in found)).text),
        ),
    )


def _counts(days: Sequence[str], found: Sequence[PaymentFigures]) -> Chart:
    started, paid = [one.started_count for one in found], [one.paid_count for one in found]
    return Chart(
        key="counts",
        title="Started and paid",
        says=f"{cells.count(sum(started)).text} payments started and {cells.count(sum(paid)).text} paid in {len(days)} "
        f"days; the most started on a day were {max(started)}.",
        days=days,
        lines=(
            Line(name="Started", values=started, texts=[cells.count(one).text for one in started]),
            Line(name="Paid", values=paid, texts=[cells.count(one).text for one in paid]),
        ),
    )


def _money(days: Sequence[str], found: Sequence[PaymentFigures], currency: str) -> Chart:
    revenue, refunded = [one.revenue_minor for one in found], [one.refunded_minor for one in found]
    return Chart(
        key="money",
        title=f"Revenue and refunds, {currency}",
        says=f"{written(sum(revenue), currency)} taken and {written(sum(refunded), currency)} given back "
        f"in {len(days)} days.",
        days=days,
        lines=(
            Line(name="Revenue", values=revenue, texts=[written(one, currency) for one in revenue]),
            Line(name="Refunded", values=refunded, texts=[written(one, currency) for one in refunded]),
        ),
        digits=digits_of(currency),
    )


def _table(key: str, caption: str, head: str, pairs: Sequence[tuple[Cell, PaymentFigures]]) -> Table:
    return Table(
        key=key,
        caption=caption,
        columns=(Column(title=head), *_FIGURES),
        rows=tuple(
            Row(key=f"{first.raw or first.text}-{row.currency_code}", cells=(first, *_cells(row)))
            for first, row in pairs
        ),
        empty=NONE,
    )


def _cells(row: PaymentFigures) -> tuple[Cell, ...]:
    def money(amount_minor: int) -> Cell:
        return Cell(
            text=written(amount_minor, row.currency_code),
            kind=CellKind.NUMBER,
            raw=f"{plain(amount_minor, row.currency_code)} {row.currency_code}",
        )

    return (
        cells.said(row.currency_code),
        cells.count(row.started_count),
        cells.count(row.converted_count),
        share(row.converted_count, row.started_count),
        cells.count(row.paid_count),
        money(row.revenue_minor),
        money(row.refunded_minor),
        cells.count(row.declined_count),
        length(row.time_to_pay.median_s),
        length(row.time_to_pay.p90_s),
    )

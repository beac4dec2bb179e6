"""What an operator fills in about prices, as entries of a price book and lines of a cart. Pure.

A change begins with the entry as it stands; a field that is left empty takes nothing away but where that is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from batzen.cli.money import parse
from batzen.pricing.v1.price_book_pb2 import Discount, FeePlan, LineKind, TaxRate
from batzen.pricing.v1.pricing_pb2 import DraftPriceBook, Line
from batzen.type.v1.money_pb2 import Money
from services.console.operating.cells import ZONE
from services.web.failures import Refusal

Entry = TaxRate | FeePlan | Discount
LINES: Final = ("1", "2")
"""The lines of the sample cart."""
KINDS: Final[Mapping[str, LineKind]] = {
    "session": LineKind.LINE_KIND_SESSION,
    "reservation": LineKind.LINE_KIND_RESERVATION,
    "goods": LineKind.LINE_KIND_GOODS,
    "digital": LineKind.LINE_KIND_DIGITAL,
}


def changed(entry: Entry, given: Mapping[str, str]) -> Entry:
    """Return an entry with the change in it."""
    match entry:
        case TaxRate():
            return _rate(entry, given)
        case FeePlan():
            return _plan(entry, given)
        case Discount():
            return _discount(entry, given)


def draft_of(entry: Entry) -> DraftPriceBook:
    """Return a draft of one entry."""
    match entry:
        case TaxRate():
            return DraftPriceBook(tax_rates=[entry])
        case FeePlan():
            return DraftPriceBook(fee_plans=[entry])
        case Discount():
            return DraftPriceBook(discounts=[entry])


def cart_of(given: Mapping[str, str]) -> list[Line]:
    """Return the sample cart; a line without an amount is none."""
    return [_line(number, given) for number in LINES if given.get(f"amount.{number}")]


def _line(number: str, given: Mapping[str, str]) -> Line:
    line = Line(
        line_id=f"line-{number}",
        seller_id=given.get(f"seller.{number}", "") or "sample-seller",
        kind=KINDS.get(given.get(f"kind.{number}", ""), LineKind.LINE_KIND_SESSION),
        quantity=given.get(f"quantity.{number}", "") or "1",
        unit_amount=_amount(given, f"amount.{number}"),
        tax_category=given.get(f"category.{number}", ""),
        country=given.get(f"country.{number}", "").upper(),
    )
    if day := given.get("day"):
        line.service_date = day
    return line


def _rate(rate: TaxRate, given: Mapping[str, str]) -> TaxRate:
    new = TaxRate()
    new.CopyFrom(rate)
    new.rate_percent = given.get("percent") or rate.rate_percent
    new.effective_from = given.get("from") or rate.effective_from
    new.source = given.get("source") or rate.source
    return new


def _plan(plan: FeePlan, given: Mapping[str, str]) -> FeePlan:
    new = FeePlan()
    new.CopyFrom(plan)
    new.retired = given.get("retired") == "on"
    if not plan.tiers:
        new.percent = given.get("percent") or plan.percent
        _take(new, given, "fixed", "minimum", "maximum")
    return new


def _discount(discount: Discount, given: Mapping[str, str]) -> Discount:
    new = Discount()
    new.CopyFrom(discount)
    new.retired = given.get("retired") == "on"
    if given.get("percent"):
        new.percent = given["percent"]
    elif given.get("fixed"):
        new.fixed.CopyFrom(_amount(given, "fixed"))
    _take(new, given, "cap", "minimum_spend")
    until = given.get("until", "")
    if not until:
        new.ClearField("valid_until")
    elif until != last_day(discount):
        new.valid_until.FromDatetime(_end_of(until))
    return new


def last_day(discount: Discount) -> str:
    """Return the last day, by the clock of Zurich, on which a discount is given, or empty where it has no end."""
    if not discount.HasField("valid_until"):
        return ""
    last = discount.valid_until.ToDatetime(tzinfo=UTC) - timedelta(microseconds=1)  # its end is the first moment after
    return last.astimezone(ZONE).date().isoformat()


def _take(entry: FeePlan | Discount, given: Mapping[str, str], *names: str) -> None:
    """Set amounts as they are given; an empty one is taken away."""
    for name in names:
        if given.get(name):
            getattr(entry, name).CopyFrom(_amount(given, name))
        else:
            entry.ClearField(name)


def _amount(given: Mapping[str, str], name: str) -> Money:
    try:
        return parse(given[name])
    except ValueError as error:
        raise Refusal(400, "FIELD_INVALID", field=name, explanation=str(error)) from None


def _end_of(day: str) -> datetime:
    """Return the first moment after a day by the clock of Zurich."""
    try:
        after = date.fromisoformat(day) + timedelta(days=1)
        return datetime.combine(after, time(), tzinfo=ZONE).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refusal(400, "FIELD_INVALID", field="until", explanation="Write the day as 2026-12-24.") from None

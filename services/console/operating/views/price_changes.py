"""Changes of the price book: how one is tried on a sample cart, and put."""

from __future__ import annotations

from collections.abc import Mapping

from batzen.pricing.v1.price_book_pb2 import Discount, FeePlan, TaxRate
from batzen.type.v1.money_pb2 import Money
from services.console.amounts import plain
from services.console.operating.blocks import Field, Form, Option, Tone
from services.console.operating.drafts import KINDS, LINES, Entry, last_day
from services.console.operating.views.prices import path_of


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

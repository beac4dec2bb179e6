"""What docs/pricing.md shows, printed by the code it is about: the stages, one cart through all of them, the rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from services.pricing.domain.cart import Cart
from services.pricing.domain.exact import Percent
from services.pricing.domain.line import LineKind, TaxBehavior
from services.pricing.domain.pipeline import STAGES, price_cart
from services.pricing.domain.price import Price, Row, RowKind
from services.pricing.domain.terms import Direction, Discount, Funder, Terms
from services.pricing.wire.locales import formats_of
from tests.pricing.samples import BOOK, CURRENCIES, NOW, cart, cart_line

LOCALE: Final = "de-CH"


def stages() -> str:
    """Return the stages in their order."""
    rows = [
        (str(number), f"`{stage.__module__.removeprefix('services.pricing.domain.')}`", _first(stage.__doc__))
        for number, stage in enumerate(STAGES, start=1)
    ]
    return _table(("", "module", "does"), rows)


def worked_cart() -> str:
    """Return one cart, what every stage makes of it, and what is shown of it."""
    of = _cart()
    price = price_cart(of, book=replace(BOOK, discounts=_discounts()))
    return "\n".join((_what_is_asked(of), _lines(of, price), _rows(price), _sellers(price)))


def rates() -> str:
    """Return the rates that hold at the time of the worked cart."""
    rows = []
    for country, category in sorted(BOOK.tax_rates):
        rate = BOOK.tax_rate(country=country, tax_category=category, on=NOW.date())
        rows.append((country, f"`{category}`", f"{rate.percent} %", rate.effective_from.isoformat()))
    return _table(("country", "category", "rate", "from"), rows)


def _cart() -> Cart:
    return cart(
        cart_line(line_id="session", seller_id="anna", quantity=Decimal("1.5"), unit_amount_minor=12_000),
        cart_line(
            line_id="room",
            seller_id="bruno",
            kind=LineKind.RESERVATION,
            unit_amount_minor=15_000,
            tax_category="accommodation",
            tax_behavior=TaxBehavior.EXCLUSIVE,
        ),
        cart_line(
            line_id="tea",
            seller_id="bruno",
            kind=LineKind.GOODS,
            quantity=Decimal(3),
            unit_amount_minor=455,
            tax_category="reduced",
        ),
        coupon_codes=("SUMMER",),
    )


def _discounts() -> tuple[Discount, ...]:
    summer = Discount(
        discount_id="summer",
        revision=1,
        code="SUMMER",
        terms=_terms(percent="10", cap_minor=1_500, funder=Funder.SELLER),
        currency_code="CHF",
        valid_from=NOW - timedelta(days=1),
        valid_until=None,
        minimum_spend_minor=None,
        uses_max=100,
        uses_per_payer_max=None,
        seller_ids=frozenset(),
        kinds=frozenset({LineKind.SESSION}),
        exclusive=False,
        retired=False,
    )
    welcome = replace(
        summer,
        discount_id="welcome",
        code="",
        terms=_terms(fixed_minor=1_000, funder=Funder.PLATFORM, stacking_order=1),
        uses_max=None,
        kinds=frozenset(),
    )
    return summer, welcome


def _terms(
    *,
    funder: Funder,
    percent: str | None = None,
    fixed_minor: int | None = None,
    cap_minor: int | None = None,
    stacking_order: int = 0,
) -> Terms:
    return Terms(
        direction=Direction.DISCOUNT,
        percent=None if percent is None else Percent.of(Decimal(percent)),
        fixed_minor=fixed_minor,
        cap_minor=cap_minor,
        funder=funder,
        stacking_order=stacking_order,
    )


def _what_is_asked(of: Cart) -> str:
    rows = [
        (
            line.line_id,
            line.seller_id,
            f"{line.quantity} × {_amount(line.unit_amount_minor)}",
            f"{BOOK.tax_rate(country=line.country, tax_category=line.tax_category, on=line.tax_date).percent} %",
            "within" if line.tax_behavior is TaxBehavior.INCLUSIVE else "on top",
        )
        for line in of.lines
    ]
    return _table(("line", "seller", "quantity × unit", "VAT", ""), rows)


def _lines(of: Cart, price: Price) -> str:
    adjustments = [[applied.shares.get(index, 0) for index in range(len(of.lines))] for applied in price.adjustments]
    columns = [
        price.list_minor, *adjustments, price.base_minor, price.net_minor, price.vat_minor, price.gross_minor,
    ]  # fmt: skip
    rows = [(line.line_id, *(_amount(column[index]) for column in columns)) for index, line in enumerate(of.lines)]
    rows.append(("**together**", *(f"**{_amount(sum(column))}**" for column in columns)))
    names = [f"`{applied.adjustment_id}`" for applied in price.adjustments]
    return _table(("line", "list", *names, "base", "net", "VAT", "gross"), rows)


def _rows(price: Price) -> str:
    written = formats_of([LOCALE], currency_code="CHF", digits=CURRENCIES["CHF"].digits)[LOCALE]

    def of(row: Row) -> str:
        if row.kind in (RowKind.LINE, RowKind.ADJUSTMENT):
            return row.line_id or row.adjustment_id
        return row.seller_id or f"{row.country} {row.tax_category}"

    rows = [
        (
            row.kind.value,
            of(row),
            written.percent(row.rate_percent) if row.rate_percent else "",
            written.amount(row.amount_minor),
            "yes" if row.payer_facing else "",
            "yes" if row.included_in_total else "",
        )
        for row in price.rows
    ]
    rows.append(("**total**", "", "", f"**{written.amount(price.total_minor)}**", "", ""))
    return _table(("row", "of", "rate", "display", "payer-facing", "in the total"), rows)


def _sellers(price: Price) -> str:
    rows = [
        (
            seller.seller_id,
            _amount(seller.gross_minor),
            _amount(seller.platform_funded_minor),
            _amount(seller.fee_basis_minor),
            _amount(seller.platform_fee_minor),
            _amount(seller.seller_share_minor),
            _amount(seller.platform_share_minor),
        )
        for seller in price.sellers
    ]
    return _table(("seller", "gross", "platform funded", "fee of", "fee", "seller share", "platform share"), rows)


def _amount(amount_minor: int) -> str:
    sign, whole = "−" if amount_minor < 0 else "", abs(amount_minor)
    return f"{sign}{whole // 100}.{whole % 100:02}"


def _first(doc: str | None) -> str:
    return (doc or "").partition("\n")[0].partition(" Raises ")[0]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"

"""Lines as a quote prices them, for what is booked of them: no figure of a split is typed in twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from services.pricing.domain.book import FeeVat, PriceBook
from services.pricing.domain.line import CartLine, TaxBehavior
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.terms import Direction, Discount, Funder, Terms
from services.shared.split import LinePart
from tests.pricing.samples import BOOK, NOW, cart, cart_line

COUNTRY = "CH"


def quoted(*lines: CartLine, book: PriceBook = BOOK, coupon: str = "") -> tuple[LinePart, ...]:
    """Return the lines of a quote with all of their shares."""
    price = price_cart(cart(*lines, coupon_codes=(coupon,) if coupon else ()), book=book)
    return tuple(
        LinePart(
            line_id=line.line_id,
            seller_id=line.seller_id,
            gross_minor=price.gross_minor[index],
            seller_minor=shares.seller_minor,
            platform_fee_minor=shares.platform_fee_minor,
            fee_vat_minor=shares.fee_vat_minor,
            fee_vat_country=COUNTRY if shares.fee_vat_minor else "",
            platform_vat_minor=shares.platform_vat_minor,
            vat_country=line.country if shares.platform_vat_minor else "",
            vat_minor=price.vat_minor[index],
            discounts_funded_minor=shares.discounts_funded_minor,
            surcharges_minor=shares.surcharges_minor,
        )
        for index, (line, shares) in enumerate(zip(lines, price.shares, strict=True))
    )


def of_seller(seller_id: str, unit_amount_minor: int) -> CartLine:
    """Return a seller's line, VAT included."""
    return cart_line(line_id=f"of-{seller_id}", seller_id=seller_id, unit_amount_minor=unit_amount_minor)


def with_fee_vat() -> PriceBook:
    """Return the book in which the fee is without its VAT, which comes on top."""
    vat = FeeVat(country=COUNTRY, tax_category="standard", tax_behavior=TaxBehavior.EXCLUSIVE)
    plans = {key: tuple(replace(plan, fee_vat=vat) for plan in found) for key, found in BOOK.fee_plans.items()}
    return replace(BOOK, fee_plans=plans)


def with_coupon() -> PriceBook:
    """Return the book with a coupon of 10.00, WELCOME, that the platform funds."""
    terms = Terms(
        direction=Direction.DISCOUNT, percent=None, fixed_minor=1_000, cap_minor=None, funder=Funder.PLATFORM,
        stacking_order=0,
    )  # fmt: skip
    coupon = Discount(
        discount_id="welcome", revision=1, code="WELCOME", terms=terms, currency_code="CHF",
        valid_from=NOW - timedelta(days=1), valid_until=None, minimum_spend_minor=None, uses_max=None,
        uses_per_payer_max=None, seller_ids=frozenset(), kinds=frozenset(), exclusive=False, retired=False,
    )  # fmt: skip
    return replace(BOOK, discounts=(coupon,))


ONE = quoted(of_seller("s1", 10_000))[0]
"""100.00 with a fee of 15 %."""
WITH_VAT = quoted(of_seller("s1", 10_000), book=with_fee_vat())[0]
"""The same with 8.1 % VAT on the fee."""
COUPON = quoted(of_seller("s1", 10_000), book=with_coupon(), coupon="WELCOME")[0]
"""The same with a coupon of 10.00 that the platform funds: the seller owes less VAT."""
CART = quoted(of_seller("s1", 10_000), of_seller("s2", 5_000), of_seller("s3", 3_000))
"""180.00 of three sellers."""

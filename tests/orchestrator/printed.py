"""What docs/refunds.md shows, computed: who bears what of a refund, and what a policy gives back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from services.orchestrator.domain import refund
from services.orchestrator.domain.money_policy import MoneyPolicy, RefundPolicy, allowed
from services.orchestrator.domain.refund import Bearer, LineStanding
from services.orchestrator.wire.prices import price
from services.pricing.domain.book import FeeBasis, FeePlan, FeeTier, FeeVat, PriceBook
from services.pricing.domain.cart import Cart
from services.pricing.domain.exact import Percent
from services.pricing.domain.line import TaxBehavior
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.terms import CallerAdjustment, Direction, Funder, Terms
from services.pricing.wire.responses import write_quote
from services.shared.split import Split
from tests.pricing.samples import BOOK, NOW, cart, cart_line

BEGIN: Final = datetime(2026, 6, 20, 8, tzinfo=UTC)
POLICY: Final = RefundPolicy(full_until_h=48, percent=50, percent_until_h=24)
BEARERS: Final = {
    Bearer.SHARED: "both, by default",
    Bearer.SELLER: "the seller, `keep_platform_fee`",
    Bearer.PLATFORM: "the platform, `keep_seller_part`",
}


def split_of(of: Cart, *, book: PriceBook = BOOK) -> Split:
    """Return who gets what of a cart, by the quote that is made of it."""
    made = write_quote(
        price_cart(of, book=book), cart=of, quote_id="quote_1", create_time=NOW, expire_time=NOW, formats={}
    )
    return price(made).split


def with_fee_vat() -> PriceBook:
    """Return a book with a fee of 15 %, and VAT on it."""
    tier = FeeTier(from_minor=0, percent=Percent.of(Decimal(15)), fixed_minor=0)
    vat = FeeVat(country="CH", tax_category="standard", tax_behavior=TaxBehavior.EXCLUSIVE)
    plan = FeePlan(fee_plan_id="plan", revision=1, basis=FeeBasis.BASE, tiers=(tier,), effective_from=NOW, fee_vat=vat)
    return replace(BOOK, fee_plans={("", ""): (plan,)})


def funded() -> Cart:
    """Return 100.00, of which the platform pays 10.00."""
    terms = Terms(
        direction=Direction.DISCOUNT,
        percent=None,
        fixed_minor=1_000,
        cap_minor=None,
        funder=Funder.PLATFORM,
        stacking_order=0,
    )
    coupon = CallerAdjustment(
        adjustment_id="coupon", terms=terms, line_ids=frozenset(), currency_codes=frozenset({"CHF"})
    )
    return cart(adjustments=(coupon,))


def standing(split: Split) -> dict[str, LineStanding]:
    """Return lines that were captured whole, and of which nothing went back."""
    return {
        line.line_id: LineStanding(
            captured_minor=line.gross_minor, standing_minor=line.gross_minor, refundable_minor=line.gross_minor
        )
        for line in split.lines
    }


def refunded(split: Split, minor: int, bearer: Bearer = Bearer.SHARED) -> tuple[refund.RefundedLine, ...]:
    """Return what a refund takes of all lines."""
    lines = standing(split)
    return refund.taken(refund.allocated(minor, split, lines, tuple(lines)), split, lines, bearer)


def bearers() -> str:
    """Return who bears what of a refund, as Markdown."""
    carts = (
        ("40.00 of 100.00, fee 15 %", split_of(cart()), 4_000),
        ("the same, with 8.1 % VAT on the fee", split_of(cart(), book=with_fee_vat()), 4_000),
        ("45.00 of 90.00, 10.00 funded by the platform", split_of(funded()), 4_500),
    )
    lines = [
        "| what goes back | who bears it | seller | fee | VAT on fee | less funded | platform alone |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, split, minor in carts:
        for bearer, words in BEARERS.items():
            [one] = refunded(split, minor, bearer)
            shares = one.shares
            figures = (
                shares.seller_minor,
                shares.platform_fee_minor,
                shares.fee_vat_minor,
                -shares.discounts_funded_minor,
                one.platform_borne_minor,
            )
            lines.append(f"| {name} | {words} | {' | '.join(map(_amount, figures))} |")
    return "\n".join(lines) + "\n"


def by_line() -> str:
    """Return what of refunds of a cart falls to each line, as Markdown."""
    grosses = {"s1": 10_000, "s2": 5_000, "s3": 3_000}
    split = split_of(
        cart(
            *(
                cart_line(line_id=f"line_of_{seller_id}", seller_id=seller_id, unit_amount_minor=minor)
                for seller_id, minor in grosses.items()
            )
        )
    )
    lines = ["| what goes back of 180.00 | line of | of it | seller | fee |", "| --- | --- | --- | --- | --- |"]
    for minor in (100, 1_800, 18_000):
        lines += [
            f"| {_amount(minor)} | {one.seller_id} | {_amount(one.gross_minor)} | {_amount(one.shares.seller_minor)} "
            f"| {_amount(one.shares.platform_fee_minor)} |"
            for one in refunded(split, minor)
        ]
    return "\n".join(lines) + "\n"


def policy() -> str:
    """Return what a policy gives back of 100.00 by when it is asked, as Markdown."""
    lines = ["| before the service | nothing went back yet | 40.00 went back | until |", "| --- | --- | --- | --- |"]
    for hours in (72, 48, 30, 24, -1):
        now = BEGIN - timedelta(hours=hours)
        said = [
            allowed(
                POLICY,
                {
                    "1": LineStanding(
                        captured_minor=10_000, standing_minor=10_000 - gone, refundable_minor=10_000 - gone
                    )
                },
                {"1": BEGIN},
                now,
            )
            for gone in (0, 4_000)
        ]
        until = said[0].until
        ends = "for ever" if until is None else f"{int((BEGIN - until).total_seconds() // 3600)} h before"
        lines.append(f"| {hours} h | {_amount(said[0].amount_minor)} | {_amount(said[1].amount_minor)} | {ends} |")
    return "\n".join(lines) + "\n"


def defaults() -> str:
    """Return what holds without a policy, as Markdown."""
    default = MoneyPolicy()
    rows = {
        "pay_after_service_hours": ("once it is captured" if default.pay_after_service_h is None else "later"),
        "dispute_recovery": default.dispute_recovery.value,
        "nets_receivables": str(default.nets_receivables).lower(),
        "fraud_warning": default.fraud_warning.value,
        "refund": "all of it, always" if default.refund.full_until_h is None else "limited",
    }
    lines = ["| policy | without one |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{name}` | {value} |" for name, value in rows.items())]) + "\n"


def _amount(minor: int) -> str:
    sign = "−" if minor < 0 else ""
    return f"{sign}{abs(minor) // 100}.{abs(minor) % 100:02d}"

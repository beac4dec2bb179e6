"""The price book and the figures in the console, in each of their states."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from batzen.orchestrator.v1.ops_pb2 import PaymentFigures
from batzen.pricing.v1.price_book_pb2 import (
    AdjustmentDirection,
    Discount,
    FeePlan,
    Funder,
    Revision,
    TaxRate,
)
from batzen.pricing.v1.pricing_pb2 import Quote, QuoteRow, RowKind, SellerTotal
from services.console.operating.answers_reader import DayAnswers
from services.console.operating.blocks import Block, Page, View
from services.console.operating.pages import figures as figures_page
from services.console.operating.pages import prices as prices_page
from services.console.operating.views import figures, price_changes, price_comparison, prices, satisfaction
from tests.web.states.console_pages import NOW, at, chf, listed, state

RATE: Final = TaxRate(
    country="CH",
    tax_category="standard",
    effective_from="2024-01-01",
    rate_percent="8.1",
    source="https://www.estv.admin.ch",
    revision=Revision(number=2, actor="anna", change_reason="The rate rose.", create_time=at(days=700)),
)
RATE_BEFORE: Final = TaxRate(
    country="CH",
    tax_category="standard",
    effective_from="2024-01-01",
    rate_percent="7.7",
    source="https://www.estv.admin.ch",
    revision=Revision(number=1, actor="seed", change_reason="came with the service", create_time=at(days=900)),
)
PLAN: Final = FeePlan(
    fee_plan_id="standard",
    percent="12",
    fixed=chf(30),
    minimum=chf(100),
    currency_code="CHF",
    effective_from=at(days=300),
    revision=Revision(number=1, actor="seed", change_reason="came with the service", create_time=at(days=300)),
)
COUPON: Final = Discount(
    discount_id="spring",
    code="SPRING-26",
    direction=AdjustmentDirection.ADJUSTMENT_DIRECTION_DISCOUNT,
    percent="15",
    funder=Funder.FUNDER_PLATFORM,
    valid_from=at(days=60),
    valid_until=at(days=-30),
    held_count=3,
    redeemed_count=118,
    revision=Revision(number=4, actor="bruno", change_reason="<b>longer</b>", create_time=at(days=9)),
)
GIVEN: Final = {
    "percent": "15",
    "fixed": "0.30 CHF",
    "minimum": "1.00 CHF",
    "amount.1": "100.00 CHF",
    "quantity.1": "1",
}


def quote(fee_minor: int) -> Quote:
    """Return a sample cart as it is priced, with a fee."""
    return Quote(
        currency_code="CHF",
        total=chf(10_000),
        rows=[
            QuoteRow(kind=RowKind.ROW_KIND_LINE, amount_minor=10_000, line_id="line-1"),
            QuoteRow(kind=RowKind.ROW_KIND_VAT, amount_minor=749, country="CH", tax_category="standard"),
            QuoteRow(kind=RowKind.ROW_KIND_PLATFORM_FEE, amount_minor=fee_minor, seller_id="sample-seller"),
        ],
        sellers=[
            SellerTotal(
                seller_id="sample-seller", seller_share_minor=10_000 - fee_minor, platform_share_minor=fee_minor
            )
        ],
    )


def _page(title: str, crumb: tuple[str, str], blocks: tuple[Block, ...]) -> Page:
    lead = "An entry of the price book, and what a change of it would do."
    return Page(title=title, lead=lead, section="price-book", crumb=crumb, blocks=blocks)


DAYS: Final = [
    PaymentFigures(
        date=f"2026-11-{day:02}",
        currency_code="CHF",
        started_count=40 + day * 7 % 23,
        converted_count=31 + day * 7 % 23 - day % 5,
        paid_count=30 + day * 5 % 19,
        revenue_minor=410_000 + day * 91_137 % 230_000,
        refunded_minor=day * 7_411 % 40_000,
        declined_count=day % 6,
        declines=[
            PaymentFigures.DeclineCount(code="insufficient_funds", count=day % 4),
            PaymentFigures.DeclineCount(code="do_not_honor", count=day % 3),
        ],
        time_to_pay=PaymentFigures.TimeToPay(count=30, sum_s=2_900, median_s=64, p90_s=211),
    )
    for day in range(1, 29)
    if day != 15
]
SELLERS: Final = [
    PaymentFigures(
        seller_id="coach-anna",
        currency_code="CHF",
        started_count=91,
        converted_count=80,
        revenue_minor=812_000,
    ),
    PaymentFigures(seller_id="studio-9", currency_code="EUR", started_count=3, declined_count=2),
]
_VIEWS: Final = (
    View(title="By day", path=figures.PATH, is_here=True),
    View(title="By seller", path=f"{figures.PATH}/seller"),
    View(title="By method", path=f"{figures.PATH}/method"),
)


ANSWERS: Final = [
    DayAnswers(day=f"2026-11-{day:02}", answer_count=3 + day % 4, score_sum=4 * (3 + day % 4) - day % 3)
    for day in range(1, 29)
    if day % 9
]


def _figures(rows: list[PaymentFigures], *said: Block) -> Page:
    currencies = figures.currencies_of(rows) or ["CHF"]
    return Page(
        title="Figures",
        lead="What payments came to. What happened up to 29 Nov 2026, 14:04 is counted.",
        section="figures",
        path=figures.PATH,
        views=_VIEWS,
        filters=figures.filters({}, currencies),
        blocks=(
            *figures.charts(rows, currency=currencies[0], first="2026-10-31", last="2026-11-29"),
            *said,
            figures.declines(rows),
            replace(figures.by_day(rows), csv_url=f"{figures.PATH}.csv" if rows else ""),
        ),
    )


_RATES, _PLANS, _DISCOUNTS = prices_page.LISTINGS
STATES: Final = {
    "price-book": state(listed(_RATES, prices.tax_rates([RATE], now=NOW))),
    "price-book-empty": state(listed(_RATES, prices.tax_rates([], now=NOW))),
    "price-book-plans": state(listed(_PLANS, prices.fee_plans([PLAN], now=NOW))),
    "price-book-discounts": state(listed(_DISCOUNTS, prices.discounts([COUPON], now=NOW))),
    "price-book-entry": state(
        _page(
            "CH.standard.2024-01-01",
            ("VAT rates", f"{prices.PATH}/tax-rates"),
            (prices.tax_rates([RATE, RATE_BEFORE], now=NOW), price_changes.try_form(RATE, {})),
        )
    ),
    "price-book-tried": state(
        _page(
            "standard",
            ("Fee plans", f"{prices.PATH}/fee-plans"),
            (
                *price_comparison.comparison(quote(1_230), quote(1_530)),
                price_changes.try_form(PLAN, GIVEN),
                price_changes.put_form(PLAN, GIVEN),
            ),
        )
    ),
    "price-book-tried-nothing": state(
        _page(
            "spring",
            ("Discounts", f"{prices.PATH}/discounts"),
            (
                price_comparison.unchanged(),
                *price_comparison.comparison(quote(1_230), quote(1_230)),
                price_changes.try_form(COUPON, {}),
            ),
        ),
        may_act=False,
    ),
    "figures": state(_figures(DAYS, *satisfaction.answers(ANSWERS, days=figures.days_of("2026-10-31", "2026-11-29")))),
    "figures-empty": state(_figures([], *satisfaction.answers([], days=[]))),
    "figures-without-answers": state(_figures(DAYS[:3], *satisfaction.unavailable("It does not answer."))),
    "figures-not-asked": state(_figures(DAYS[:3], *satisfaction.unknown())),
    "figures-by-seller": state(listed(figures_page.LISTINGS["seller"], figures.by_seller(SELLERS))),
}

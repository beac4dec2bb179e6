"""What a hosted page lists, and what is put on Stripe's objects: rules that need no service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain import stripe_metadata
from services.orchestrator.domain.checkout_lines import (
    LINES_MAX,
    CheckoutLine,
    PriceRow,
    RowKind,
    checkout_lines,
    spread,
)
from services.orchestrator.domain.errors import MetadataTooLarge
from services.orchestrator.domain.stripe_metadata import KEYS_MAX, LineTotal
from services.orchestrator.domain.terms import Collection, Terms
from tests.orchestrator.test_hold_rules import a_plan

AMOUNTS = st.integers(min_value=0, max_value=10**7)


def row(amount_minor: int, **changes: Any) -> PriceRow:
    return PriceRow(**({"kind": RowKind.LINE, "amount_minor": amount_minor, "line_id": "a", "quantity": "1"} | changes))


@st.composite
def priced(draw: st.DrawFn) -> tuple[list[PriceRow], int]:
    """Return the rows of a quote and its total, which they sum to: lines, surcharges, VAT on top, and discounts."""
    lines = [row(amount, line_id=f"l{place}") for place, amount in enumerate(draw(st.lists(AMOUNTS, min_size=1)))]
    left = {one.line_id: one.amount_minor for one in lines}
    rows = list(lines)
    for _ in range(draw(st.integers(0, 3))):
        shares = {line_id: draw(st.integers(-of, 10**4)) for line_id, of in left.items()}
        left = {line_id: left[line_id] + share for line_id, share in shares.items()}
        rows.append(row(sum(shares.values()), kind=RowKind.ADJUSTMENT, line_id="", shares=shares))
    rows.append(row(draw(AMOUNTS), kind=RowKind.VAT, line_id="", rate_percent="8.1", is_included=draw(st.booleans())))
    return rows, sum(one.amount_minor for one in rows if one.is_included)


@given(priced(), st.sampled_from([1, 10, 100]))
def test_the_rows_of_a_page_sum_to_the_total_to_the_unit_and_none_is_negative(
    quote: tuple[list[PriceRow], int], step_minor: int
) -> None:
    rows, total_minor = quote
    total_minor -= total_minor % step_minor
    lines = checkout_lines(rows, total_minor, name="A lesson", step_minor=step_minor)
    assert sum(line.amount_minor for line in lines) == total_minor
    assert all(line.amount_minor > 0 and line.amount_minor % step_minor == 0 and line.name for line in lines)
    assert len(lines) <= LINES_MAX


@given(st.lists(AMOUNTS, min_size=1), st.data())
def test_what_is_spread_is_spread_whole_and_over_nobody_s_head(weights: list[int], data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, sum(weights)))
    shares = spread(amount, weights)
    assert sum(shares) == amount
    assert all(0 <= share <= weight for share, weight in zip(shares, weights, strict=True))


def test_a_discount_is_taken_off_the_line_that_it_lowers_and_named_there() -> None:
    rows = [
        row(10_000),
        row(5_000, line_id="b", quantity="2"),
        row(-1_000, kind=RowKind.ADJUSTMENT, line_id="", name="SUMMER", shares={"b": -1_000}),
        row(700, kind=RowKind.VAT, line_id="", rate_percent="8.1"),
        row(1_134, kind=RowKind.VAT, line_id="", rate_percent="8.1", is_included=False),
    ]
    assert checkout_lines(rows, 14_700, name="Skiing") == (
        CheckoutLine(name="Skiing", amount_minor=10_000),
        CheckoutLine(name="2 × Skiing", amount_minor=4_000, description="After SUMMER"),
        CheckoutLine(name="VAT 8.1 %", amount_minor=700),
    )


def test_what_a_line_cannot_bear_is_taken_off_the_others() -> None:
    rows = [
        row(1_000),
        row(500, kind=RowKind.ADJUSTMENT, line_id="", name="LATE", shares={"a": 500}),
        row(-1_200, kind=RowKind.ADJUSTMENT, line_id="", shares={"a": -1_200}),
    ]
    assert checkout_lines(rows, 300, name="Skiing") == (CheckoutLine(name="Surcharge LATE", amount_minor=300),)


def test_what_prices_do_not_say_is_a_row_of_its_own() -> None:
    assert checkout_lines([row(1_003)], 1_005, name="Skiing")[-1] == CheckoutLine(name="Rounding", amount_minor=2)
    assert checkout_lines([row(1_003)], 1_000, name="Skiing") == (CheckoutLine(name="Skiing", amount_minor=1_000),)


def test_an_intent_carries_the_keys_of_the_systems_before() -> None:
    plan = replace(a_plan(), booking_ids=("b1", "b2"), seller_ids=("s1",), payer_id="p1", session_type="lesson")
    course = replace(plan.course, vat_minor=674, vat_rate="8.1", original_minor=10_000)
    assert stripe_metadata.of_intent(replace(plan, course=course)) == {
        "bookingId": "b1,b2",
        "coachId": "s1",
        "userId": "p1",
        "sessionType": "lesson",
        "vatAmount": "674",
        "vatRate": "8.1",
        "platformFee": str(plan.platform_fee_minor),
        "originalAmount": "10000",
    }


@pytest.mark.parametrize(
    ("cart", "kind"), [((), "reservation_payment"), (("l1",), "mixed_cart"), (("l1", "l2"), "beats_only")]
)
def test_a_session_carries_the_keys_of_the_systems_before(cart: tuple[str, ...], kind: str) -> None:
    terms = Terms(collection=Collection.CHECKOUT, cart_line_ids=cart, checkout_description="Two days")
    plan = replace(a_plan(), terms=terms, booking_ids=("b1",))
    plan.total_minor = 300
    lines = [LineTotal(line_id="l1", gross_minor=100), LineTotal(line_id="l2", gross_minor=200)]
    said = stripe_metadata.of_session(plan, lines)
    in_cart = sum(line.gross_minor for line in lines if line.line_id in cart)
    assert said.get("cartItemIds", "") == ",".join(cart)
    assert said == {
        "type": kind,
        "reservationIds": "b1",
        "servicesCount": str(2 - len(cart)),
        "servicesTotal": str(300 - in_cart),
        "cartCount": str(len(cart)),
        "cartTotal": str(in_cart),
        "orderTotal": "300",
        "description": "Two days",
    } | ({"cartItemIds": ",".join(cart)} if cart else {})
    named = replace(plan, terms=replace(terms, checkout_type="voucher"))
    assert stripe_metadata.of_session(named, lines)["type"] == "voucher"


def test_as_many_ids_as_stripe_keeps_are_taken_and_no_more() -> None:
    fit = tuple(f"{place:0>128}" for place in range(3 * (KEYS_MAX - 5)))  # three to a value, beside five other keys
    plan = replace(a_plan(), booking_ids=fit, session_type="")
    assert stripe_metadata.of_intent(plan)["bookingId"] == ",".join(fit)
    with pytest.raises(MetadataTooLarge) as refused:
        stripe_metadata.of_intent(replace(plan, booking_ids=(*fit, "x" * 128)))
    assert refused.value.metadata == {"keys": str(KEYS_MAX + 1)}

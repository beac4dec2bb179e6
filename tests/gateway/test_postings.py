"""What is booked of each thing that happens to a payment: the rows of docs/money.md, with the figures of a split."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.gateway.disputes.domain import Standing
from services.gateway.ledger.domain import Account, Entry, Fact, Place, Unbalanced
from services.gateway.refunds.domain import Bearer, RefundState
from services.gateway.settlement.domain import DisputeRecovery, MovementKind, MovementState
from services.shared.split import LinePart
from tests.gateway.bookkeeping import NOW, Bookkeeping, by_account, entries_of
from tests.gateway.quoted import CART, COUPON, ONE, WITH_VAT


def booked(books: Bookkeeping) -> dict[str, int]:
    """Book what happened, and return what it comes to by account."""
    return by_account(entries_of(books.post()))


def taken(*lines: LinePart, recovery: DisputeRecovery = DisputeRecovery.NONE) -> Bookkeeping:
    """Return a payment of which all was captured, which is booked."""
    books = Bookkeeping(*lines, recovery=recovery)
    books.captured(sum(one.gross_minor for one in lines))
    books.post()
    return books


def test_nothing_is_booked_of_a_payment_in_which_no_money_moved() -> None:
    books = Bookkeeping(ONE)
    books.captured(0)
    assert books.post() == ()
    assert books.books.marks == {}


def test_1_a_capture_is_due_to_seller_and_platform() -> None:
    books = Bookkeeping(ONE)
    books.captured(ONE.gross_minor)
    [fact] = books.post()

    assert (fact.fact, fact.stripe_id, fact.payment_id) == ("captured:ch_1:10000", "ch_1", "pay_a")
    assert by_account(fact.entries) == {"stripe_clearing": 10_000, "seller:s1": -8_500, "platform_fee": -1_500}
    assert books.post() == ()


def test_1_a_capture_with_vat_on_the_fee_owes_that_to_the_country() -> None:
    books = Bookkeeping(WITH_VAT)
    books.captured(WITH_VAT.gross_minor)

    assert booked(books) == {
        "stripe_clearing": WITH_VAT.gross_minor,
        "seller:s1": -WITH_VAT.seller_minor,
        "platform_fee": -WITH_VAT.platform_fee_minor,
        "vat_payable:CH": -WITH_VAT.fee_vat_minor,
    }
    [vat] = [one.vat_minor for one in entries_of(books.facts) if one.place.account is Account.SELLER]
    assert vat == WITH_VAT.vat_minor


def test_3_and_6_what_moves_to_and_from_the_seller_is_net_of_the_fee() -> None:
    books = taken(ONE)
    books.moved(MovementKind.TRANSFER, ONE.gross_minor)
    books.moved(MovementKind.FEE, ONE.platform_fee_minor)
    assert booked(books) == {"seller:s1": 8_500, "stripe_clearing": -8_500}
    assert [one.kind for one in books.facts] == ["captured", "transfer", "application_fee"]

    books.refunded(4_000)
    assert booked(books) == {"stripe_clearing": -4_000, "seller:s1": 3_400, "platform_fee": 600}
    books.moved(MovementKind.REVERSAL, 4_000)
    books.moved(MovementKind.FEE_REFUND, 600)
    assert booked(books) == {"stripe_clearing": 3_400, "seller:s1": -3_400}


def test_5_a_refund_takes_vat_back_with_the_fee() -> None:
    books = taken(WITH_VAT)
    books.refunded(4_000)
    assert booked(books) == {"stripe_clearing": -4_000, "seller:s1": 3_351, "platform_fee": 600, "vat_payable:CH": 49}
    books.refunded(6_000)
    books.post()
    assert by_account(entries_of(books.facts)) == {}


@pytest.mark.parametrize(
    ("bearer", "postings"),
    [
        (Bearer.PLATFORM, {"stripe_clearing": -4_000, "refund_borne": 4_000}),
        (Bearer.SELLER, {"stripe_clearing": -4_000, "seller:s1": 4_000}),
    ],
)
def test_7_a_refund_is_at_the_cost_of_its_bearer(bearer: Bearer, postings: dict[str, int]) -> None:
    books = taken(ONE)
    books.refunded(4_000, bearer=bearer)
    assert booked(books) == postings


@pytest.mark.parametrize("state", [RefundState.FAILED, RefundState.CANCELED])
def test_8_a_refund_that_fails_is_booked_the_other_way_round(state: RefundState) -> None:
    books = taken(ONE)
    refund_id = books.refunded(4_000)
    books.post()
    books.refund_is(refund_id, state)
    [fact] = books.post()
    assert fact.fact == f"refund_{state.lower()}:re_1"
    assert by_account(fact.entries) == {"stripe_clearing": 4_000, "seller:s1": -3_400, "platform_fee": -600}

    books.refund_is(refund_id, RefundState.SUCCEEDED)
    [fact] = books.post()
    assert fact.fact == "refunded:re_1:2"


def test_a_refund_that_stripe_does_not_know_has_moved_nothing() -> None:
    books = taken(ONE)
    refund_id = books.refunded(4_000)
    books.refund_is(refund_id, RefundState.FAILED)
    assert books.post() == ()


WITHDRAWN = {"dispute_withheld": 6_000, "stripe_clearing": -6_000}
HELD = {"seller:s1": 5_100, "seller_held:s1": -5_100}


@pytest.mark.parametrize(
    ("recovery", "withdrawn", "lost"),
    [
        (DisputeRecovery.NONE, WITHDRAWN, {"dispute_loss": 6_000}),
        (DisputeRecovery.AT_LOSS, WITHDRAWN, {"seller:s1": 5_100, "platform_fee": 900}),
        (DisputeRecovery.AT_WITHDRAWAL, {**WITHDRAWN, **HELD}, {"seller_held:s1": 5_100, "platform_fee": 900}),
    ],
)
def test_9_to_12_a_dispute_takes_holds_and_gives_back_as_its_terms_say(
    recovery: DisputeRecovery, withdrawn: dict[str, int], lost: dict[str, int]
) -> None:
    books = taken(ONE, recovery=recovery)
    books.disputed(Standing.OPEN, 6_000)
    assert booked(books) == withdrawn
    books.disputed(Standing.LOST, 6_000)
    assert booked(books) == {**lost, "dispute_withheld": -6_000}

    books = taken(ONE, recovery=recovery)
    books.disputed(Standing.LOST, 6_000)
    assert [one.fact for one in books.post()] == ["withdrawn:dp_1", "lost:dp_1"]

    books = taken(ONE, recovery=recovery)
    books.disputed(Standing.OPEN, 6_000)
    books.post()
    books.disputed(Standing.CLOSED, 6_000)
    assert booked(books) == {name: -minor for name, minor in withdrawn.items()}
    assert books.facts[-1].fact == "reinstated:dp_1"


def test_12_a_dispute_that_is_decided_anew_is_booked_each_time() -> None:
    books = taken(ONE)
    for standing in (Standing.OPEN, Standing.LOST, Standing.OPEN, Standing.LOST, Standing.CLOSED):
        books.disputed(standing, 6_000)
        books.post()
    names = [one.fact for one in books.facts[1:]]
    assert names == ["withdrawn:dp_1", "lost:dp_1", "reopened:dp_1", "lost:dp_1:2", "reinstated:dp_1"]
    assert by_account(entries_of(books.facts[1:])) == {}


def test_13_what_is_lost_beyond_what_stands_is_the_platforms_loss() -> None:
    books = taken(ONE, recovery=DisputeRecovery.AT_LOSS)
    books.refunded(4_000)
    books.post()
    books.disputed(Standing.LOST, 10_000)
    withdrawn, lost = books.post()
    assert by_account(withdrawn.entries) == {"dispute_withheld": 10_000, "stripe_clearing": -10_000}
    assert by_account(lost.entries) == {
        "seller:s1": 5_100, "platform_fee": 900, "dispute_loss": 4_000, "dispute_withheld": -10_000,
    }  # fmt: skip


def test_14_money_on_a_second_attempt_is_the_payers() -> None:
    books = taken(ONE)
    books.captured(10_000, attempt=2)
    books.moved(MovementKind.TRANSFER, 10_000, attempt=2)
    books.moved(MovementKind.FEE, 1_500, attempt=2)
    assert booked(books) == {"stripe_clearing": 1_500, "payer_surplus": -10_000, "seller:s1": 8_500}
    books.refunded(10_000, attempt=2)
    books.moved(MovementKind.REVERSAL, 10_000, attempt=2)
    books.moved(MovementKind.FEE_REFUND, 1_500, attempt=2)
    assert booked(books) == {"stripe_clearing": -1_500, "payer_surplus": 10_000, "seller:s1": -8_500}


def test_14_surplus_that_is_lost_by_a_dispute_is_no_loss() -> None:
    books = taken(ONE)
    books.captured(10_000, attempt=2)
    books.disputed(Standing.LOST, 12_000, attempt=2)
    assert booked(books) == {"stripe_clearing": -2_000, "dispute_loss": 2_000}


def test_what_is_taken_beyond_the_total_is_surplus_and_goes_back_first() -> None:
    books = Bookkeeping(ONE)
    books.captured(10_500)
    assert booked(books)["payer_surplus"] == -500
    books.refunded(10_500)
    assert booked(books)["payer_surplus"] == 500
    assert by_account(entries_of(books.facts)) == {}


def test_a_cart_of_three_sellers() -> None:
    books = Bookkeeping(*CART)
    books.captured(18_000)
    assert booked(books) == {
        "stripe_clearing": 18_000,
        "seller:s1": -8_500, "seller:s2": -4_250, "seller:s3": -2_550,
        "platform_fee": -2_700,
    }  # fmt: skip
    fees = {
        one.place.seller_id: -one.amount_minor for one in entries_of(books.facts) if one.place.account == "platform_fee"
    }
    assert fees == {"s1": 1_500, "s2": 750, "s3": 450}
    books.refunded(5_000, of="of-s2")
    assert booked(books) == {"stripe_clearing": -5_000, "seller:s2": 4_250, "platform_fee": 750}


def test_a_coupon_of_the_platforms_is_half_back_with_half() -> None:
    books = taken(COUPON)
    assert by_account(entries_of(books.facts)) == {
        "stripe_clearing": 9_000, "discounts_funded": 925, "seller:s1": -8_425, "platform_fee": -1_500,
    }  # fmt: skip
    books.refunded(4_500)
    books.refunded(4_500)
    first, second = books.post()
    assert by_account(first.entries)["platform_fee"] == 750
    assert abs(by_account(first.entries)["discounts_funded"] - by_account(second.entries)["discounts_funded"]) == 1
    assert by_account(entries_of(books.facts)) == {}


def test_the_platforms_own_goods_are_sales() -> None:
    own = LinePart(
        line_id="book", seller_id="tenant", gross_minor=2_000, seller_minor=1_750, platform_vat_minor=150,
        vat_country="CH", vat_minor=150, surcharges_minor=100, is_platform=True,
    )  # fmt: skip
    books = taken(own)
    assert by_account(entries_of(books.facts)) == {
        "stripe_clearing": 2_000, "platform_sales": -1_750, "vat_payable:CH": -150, "surcharges": -100,
    }  # fmt: skip
    books.refunded(500, bearer=Bearer.SELLER)
    assert booked(books) == {"stripe_clearing": -500, "platform_sales": 500}


def test_rounding_to_cash_is_what_it_put_on() -> None:
    rounded = LinePart(
        line_id="of-s1",
        seller_id="s1",
        gross_minor=10_005,
        seller_minor=8_500,
        platform_fee_minor=1_500,
        rounding_minor=5,
    )
    assert by_account(entries_of(taken(rounded).facts))["rounding"] == -5


def test_what_is_settled_in_another_currency_goes_through_conversion() -> None:
    books = Bookkeeping(ONE, currency_code="EUR")
    books.captured(10_000)
    books.post()
    books.moved(MovementKind.TRANSFER, 8_500, at_stripe=(8_075, "CHF"))
    [fact] = books.post()
    assert by_account(fact.entries, currency_code="EUR") == {"seller:s1": 8_500, "conversion": -8_500}
    assert by_account(fact.entries, currency_code="CHF") == {"conversion": 8_075, "stripe_clearing": -8_075}


def test_a_movement_that_was_not_made_after_all_is_undone() -> None:
    books = taken(ONE)
    movement_id = books.moved(MovementKind.TRANSFER, 8_500)
    books.post()
    books.movements[movement_id] = replace(books.movements[movement_id], state=MovementState.REFUSED)
    [fact] = books.post()
    assert fact.kind == "undone"
    assert by_account(fact.entries) == {"seller:s1": -8_500, "stripe_clearing": 8_500}


def test_6a_what_is_written_off_is_the_platforms_loss_and_may_become_less() -> None:
    books = taken(ONE)
    books.moved(MovementKind.TRANSFER, 8_500)
    refund_id = books.refunded(4_000)
    books.post()
    movement_id = books.moved(MovementKind.WRITE_OFF, 3_400)
    assert booked(books) == {"seller_loss": 3_400, "seller:s1": -3_400}

    books.refund_is(refund_id, RefundState.FAILED)
    written_off = books.movements[movement_id]
    books.movements[movement_id] = replace(written_off, charge_minor=1_000, amount_minor=1_000)
    failed, less = books.post()
    assert by_account(failed.entries) == {"stripe_clearing": 4_000, "seller:s1": -3_400, "platform_fee": -600}
    assert (less.kind, by_account(less.entries)) == ("undone", {"seller:s1": 2_400, "seller_loss": -2_400})


def test_a_part_is_captured_and_then_the_rest() -> None:
    books = Bookkeeping(WITH_VAT)
    for minor in (3_333, 10_000):
        books.captured(minor)
        books.post()
    assert [one.fact for one in books.facts] == ["captured:ch_1:3333", "captured:ch_1:10000"]
    assert by_account(entries_of(books.facts))["vat_payable:CH"] == -WITH_VAT.fee_vat_minor


def test_what_was_booked_by_other_rules_is_put_right_apart_from_what_changed() -> None:
    books = taken(ONE)
    books.refunded(4_000)
    of_seller, fee = books.books.sums[1], books.books.sums[2]
    moved = replace(of_seller, amount_minor=of_seller.amount_minor + fee.amount_minor)
    books.books = replace(books.books, sums=(books.books.sums[0], moved))
    adjusted, refunded = books.post()
    assert adjusted.fact == "adjusted:pay_a"
    assert by_account(adjusted.entries) == {"seller:s1": 1_500, "platform_fee": -1_500}
    assert by_account(refunded.entries) == {"stripe_clearing": -4_000, "seller:s1": 3_400, "platform_fee": 600}


def test_a_fact_refuses_to_exist_unbalanced() -> None:
    place = Place(account=Account.STRIPE_CLEARING, currency_code="CHF")
    other = Place(account=Account.STRIPE_BALANCE, currency_code="EUR")
    entries = (Entry(place=place, amount_minor=1), Entry(place=other, amount_minor=-1))
    with pytest.raises(Unbalanced):
        Fact(fact="bt:txn_1", entries=entries, value_time=NOW)
    for wrong in (
        {"account": Account.SELLER, "currency_code": "CHF"},
        {"account": Account.VAT_PAYABLE, "currency_code": "CHF"},
        {"account": Account.BANK, "currency_code": "CHF", "country": "CH"},
    ):
        with pytest.raises(ValueError, match="of"):
            Place(**wrong)  # type: ignore[arg-type]  # as above


def test_a_movement_that_is_seen_in_another_currency_later_is_corrected_by_a_fact_of_its_own() -> None:
    books = Bookkeeping(ONE)
    books.captured(10_000)
    moved = books.moved(MovementKind.TRANSFER, 10_000)
    books.post()

    books.movements[moved] = replace(books.movements[moved], amount_minor=9_500, currency_code="EUR")
    [fact] = books.post()

    assert fact.stripe_id == books.movements[moved].stripe_id
    assert by_account(fact.entries) == {"stripe_clearing": 10_000, "conversion": -10_000}
    assert by_account(fact.entries, currency_code="EUR") == {"stripe_clearing": -9_500, "conversion": 9_500}

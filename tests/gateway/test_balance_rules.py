"""To which accounts each type of balance transaction is booked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.gateway.balance.domain import COUNTER, BalanceTransaction, facts_of
from services.gateway.ledger.domain import Account, Fact
from services.gateway.stripe_api.balance_objects import balance_transaction

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHARGE = BalanceTransaction(
    balance_transaction_id="txn_a",
    type="charge",
    reporting_category="charge",
    amount_minor=10_000,
    fee_minor=320,
    net_minor=9_680,
    currency_code="CHF",
    source_id="ch_a",
    create_time=NOW,
    available_time=NOW,
)


def booked(shown: BalanceTransaction) -> dict[str, dict[str, int]]:
    """Return what each fact books, by account and currency."""
    return {fact.fact: sides(fact) for fact in facts_of(shown, payment_id="payment_a")}


def sides(fact: Fact) -> dict[str, int]:
    """Return what a fact books."""
    return {f"{one.place.name} {one.place.currency_code}": one.amount_minor for one in fact.entries}


def test_a_charge_clears_what_was_seen_and_its_fee_stands_apart() -> None:
    assert booked(CHARGE) == {
        "bt:txn_a": {"stripe_balance CHF": 9_680, "stripe_fee CHF": 320, "stripe_clearing CHF": -10_000}
    }
    [fact] = facts_of(CHARGE, payment_id="payment_a")
    assert (fact.stripe_id, fact.payment_id, fact.value_time) == ("ch_a", "payment_a", NOW)


def test_the_fee_of_a_dispute_is_what_its_balance_transaction_says() -> None:
    taken = replace(CHARGE, type="adjustment", source_id="dp_a", amount_minor=-6_000, fee_minor=1_500, net_minor=-7_500)
    assert booked(taken)["bt:txn_a"] == {
        "stripe_balance CHF": -7_500,
        "dispute_fee CHF": 1_500,
        "stripe_clearing CHF": 6_000,
    }
    given = replace(taken, amount_minor=6_000, fee_minor=-1_500, net_minor=7_500)
    assert booked(given)["bt:txn_a"] == {
        "stripe_balance CHF": 7_500,
        "dispute_fee CHF": -1_500,
        "stripe_clearing CHF": -6_000,
    }


def test_a_payout_and_one_that_comes_back_are_each_others_reverse() -> None:
    out = replace(CHARGE, type="payout", source_id="po_a", amount_minor=-1_180, fee_minor=0, net_minor=-1_180)
    assert booked(out) == {
        "bt:txn_a": {"stripe_balance CHF": -1_180, "stripe_clearing CHF": 1_180},
        "payout:po_a": {"bank CHF": 1_180, "stripe_clearing CHF": -1_180},
    }
    back = replace(out, type="payout_failure", amount_minor=1_180, net_minor=1_180)
    assert booked(back) == {
        "bt:txn_a": {"stripe_balance CHF": 1_180, "stripe_clearing CHF": -1_180},
        "payout_failed:po_a": {"bank CHF": -1_180, "stripe_clearing CHF": 1_180},
    }


def test_a_charge_in_another_currency_goes_through_the_conversion() -> None:
    shown = replace(
        CHARGE, amount_minor=9_500, fee_minor=300, net_minor=9_200, own_amount_minor=10_000, own_currency_code="EUR"
    )
    assert booked(shown)["bt:txn_a"] == {
        "stripe_balance CHF": 9_200,
        "stripe_fee CHF": 300,
        "conversion CHF": -9_500,
        "stripe_clearing EUR": -10_000,
        "conversion EUR": 10_000,
    }


def test_what_is_a_fee_as_a_whole_is_booked_as_one() -> None:
    for amount_minor, fee_minor in ((-450, 0), (0, 450)):
        shown = replace(
            CHARGE, type="stripe_fee", source_id="", amount_minor=amount_minor, fee_minor=fee_minor, net_minor=-450
        )
        assert booked(shown) == {"bt:txn_a": {"stripe_balance CHF": -450, "stripe_fee CHF": 450}}


@pytest.mark.parametrize("kind", ["issuing_authorization_hold", "", "adjustment"])
def test_what_no_rule_knows_is_unclassified_and_never_dropped(kind: str) -> None:
    shown = replace(CHARGE, type=kind, source_id="", amount_minor=-77, fee_minor=0, net_minor=-77)
    assert booked(shown) == {"bt:txn_a": {"stripe_balance CHF": -77, "unclassified CHF": 77}}


@pytest.mark.parametrize("kind", sorted(COUNTER))
def test_each_type_is_balanced_and_moves_the_balance_by_its_net(kind: str) -> None:
    for fact in facts_of(replace(CHARGE, type=kind), payment_id=""):
        if fact.fact.startswith("bt:"):
            [moved] = [one.amount_minor for one in fact.entries if one.place.account is Account.STRIPE_BALANCE]
            assert moved == 9_680


def test_where_no_money_moved_nothing_is_booked() -> None:
    assert facts_of(replace(CHARGE, amount_minor=0, fee_minor=0, net_minor=0), payment_id="") == ()


def test_a_part_of_its_source_is_measured_by_what_it_moved() -> None:
    """Of 100.00 EUR at 0.95: one capture of several, and what came back of a dispute, are not all of it."""
    times = {"created": 1_772_323_200, "available_on": 1_772_323_200}
    row = {"currency": "chf", "exchange_rate": 0.95, "fee": 0, **times}
    charge = {"id": "ch_a", "object": "charge", "currency": "eur", "amount_captured": 10_000}
    taken, back = row | {"id": "txn_a", "amount": -9_500}, row | {"id": "txn_b", "amount": 3_800}
    dispute = {"id": "dp_a", "object": "dispute", "currency": "eur", "amount": 10_000, "status": "lost", **times}
    dispute |= {"balance_transactions": [taken, back]}

    read = [
        balance_transaction({**one, "net": one["amount"], "source": source})
        for one, source in (
            (row | {"id": "txn_c", "amount": 9_500}, charge),
            (row | {"id": "txn_d", "amount": 3_800}, charge),
            (taken, dispute),
            (back, dispute),
        )
    ]

    assert [one.own_amount_minor for one in read] == [10_000, 4_000, -10_000, 4_000]

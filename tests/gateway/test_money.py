"""The lives of payments that docs/money.md shows add up, whoever adds them."""

from __future__ import annotations

import pytest

from tests.gateway.bookkeeping import by_account, entries_of
from tests.gateway.printed_money import Life, Step, stories


@pytest.mark.parametrize(("life", "steps"), list(stories()), ids=lambda value: getattr(value, "title", ""))
def test_a_life_adds_up(life: Life, steps: list[Step]) -> None:
    for _, happens in steps:
        life.facts += [*happens(life), *life.books.post()]
    entries = entries_of(life.facts)
    for code in ("CHF", "EUR"):
        assert sum(by_account(entries, currency_code=code).values()) == 0
    left = by_account(entries)
    assert not [name for name in left if name.startswith("seller")], "sellers have what they are owed"
    shown = by_account(entries_of(fact for fact in life.facts if fact.kind == "bt"))
    assert left.get("stripe_balance", 0) == shown.get("stripe_balance", 0), "nothing else moves the balance"


def test_a_life_that_was_seen_whole_leaves_nothing_in_transit() -> None:
    life, steps = next(iter(stories()))
    for _, happens in steps:
        life.facts += [*happens(life), *life.books.post()]
    # 15.00 less 6.00 given back, of which Stripe took 3.20.
    assert by_account(entries_of(life.facts)) == {"platform_fee": -900, "stripe_balance": 580, "stripe_fee": 320}

"""Random histories of a payment: what is booked of them, whatever is seen together and in whatever order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.disputes.domain import Standing
from services.gateway.ledger.domain import Account
from services.gateway.refunds.domain import Bearer, RefundState
from services.gateway.settlement.domain import (
    NOT_AT_STRIPE,
    TO_SELLER,
    DisputeRecovery,
    Movement,
    MovementKind,
    MovementState,
)
from services.gateway.settlement.positions import lines_of, positions
from services.shared.split import LinePart
from tests.gateway.bookkeeping import Bookkeeping, by_account, entries_of

TENANT = "tenant"


@st.composite
def lines(draw: st.DrawFn, number: int) -> LinePart:
    """Return a line of any seller or the platform, whose shares add up."""
    is_platform = draw(st.sampled_from([False, False, False, True]))
    seller_id = TENANT if is_platform else draw(st.sampled_from(["s1", "s2", "s3"]))
    fee, fee_vat = (0, 0) if is_platform else (draw(st.integers(0, 900)), draw(st.integers(0, 99)))
    platform_vat, surcharges = draw(st.integers(0, 300)), draw(st.integers(0, 50))
    seller = draw(st.integers(1_000, 9_000))
    funded, rounding = draw(st.integers(0, 500)), draw(st.integers(-2, 2))
    return LinePart(
        line_id=f"line-{number}",
        seller_id=seller_id,
        gross_minor=seller + fee + fee_vat + platform_vat + surcharges + rounding - funded,
        seller_minor=seller,
        platform_fee_minor=fee,
        fee_vat_minor=fee_vat,
        fee_vat_country="CH" if fee_vat else "",
        platform_vat_minor=platform_vat,
        vat_country=draw(st.sampled_from(["CH", "DE"])) if platform_vat else "",
        vat_minor=platform_vat + draw(st.integers(0, 300)),
        discounts_funded_minor=funded,
        surcharges_minor=surcharges,
        rounding_minor=rounding,
        is_platform=is_platform,
    )


@st.composite
def histories(draw: st.DrawFn) -> Bookkeeping:
    """Return a payment of which something was captured, and how a test may have it seen: at once, or step by step."""
    split = [draw(lines(number)) for number in range(draw(st.integers(1, 4)))]
    recovery = draw(st.sampled_from(list(DisputeRecovery)))
    history = Bookkeeping(*split, recovery=recovery)
    steps = draw(st.lists(st.sampled_from(list(STEPS)), max_size=12))
    seen = [draw(st.booleans()) for _ in steps]
    history.captured(draw(st.integers(1, history.first.amount_minor)))
    for step, is_seen in zip(steps, seen, strict=True):
        STEPS[step](history, draw)
        if is_seen:
            history.post()
    history.post()
    return history


def _captures(history: Bookkeeping, draw: st.DrawFn) -> None:
    taken = history.intents[1].captured_minor
    history.captured(draw(st.integers(taken, history.first.amount_minor + 20)))


def _captures_beside(history: Bookkeeping, draw: st.DrawFn) -> None:
    history.captured(draw(st.integers(1, 5_000)), attempt=2)


def _refunds(history: Bookkeeping, draw: st.DrawFn) -> None:
    attempt = draw(st.sampled_from(sorted(history.intents)))
    history.refunded(draw(st.integers(1, 4_000)), bearer=draw(st.sampled_from(list(Bearer))), attempt=attempt)


def _refund_ends(history: Bookkeeping, draw: st.DrawFn) -> None:
    if history.refunds:
        states = st.sampled_from([RefundState.FAILED, RefundState.CANCELED, RefundState.SUCCEEDED])
        history.refund_is(draw(st.sampled_from(sorted(history.refunds))), draw(states))


def _disputes(history: Bookkeeping, draw: st.DrawFn) -> None:
    attempt = draw(st.sampled_from(sorted(history.intents)))
    dispute_id = f"dp_{attempt}_{draw(st.integers(1, 2))}"
    known = {one.dispute_id: one.amount_minor for one in history.intents[attempt].disputes}
    minor = known.get(dispute_id) or draw(st.integers(1, 9_000))
    history.disputed(draw(st.sampled_from(list(Standing))), minor, dispute_id=dispute_id, attempt=attempt)


def _moves(history: Bookkeeping, draw: st.DrawFn) -> None:
    kind, seller_id = draw(st.sampled_from(list(MovementKind))), draw(st.sampled_from(["s1", "s2"]))
    minor = draw(st.integers(1, 9_000))
    exchanged = (minor * 95 // 100 or 1, "EUR")
    at_stripe = draw(st.sampled_from([None, exchanged])) if kind not in NOT_AT_STRIPE else None
    history.moved(kind, minor, seller_id=seller_id, at_stripe=at_stripe)


def _changes_a_movement(history: Bookkeeping, draw: st.DrawFn) -> None:
    """One turns out not to have been made, or of a write-off less stands."""
    if not history.movements:
        return
    movement = history.movements[draw(st.sampled_from(sorted(history.movements)))]
    if movement.kind is MovementKind.WRITE_OFF and movement.charge_minor > 1:
        left = draw(st.integers(1, movement.charge_minor - 1))
        changed = replace(movement, charge_minor=left, amount_minor=left, currency_code="CHF")
    else:
        changed = replace(movement, state=draw(st.sampled_from([MovementState.REFUSED, MovementState.MADE])))
    history.movements[movement.movement_id] = changed


STEPS = {
    one.__name__: one
    for one in (_captures, _captures_beside, _refunds, _refund_ends, _disputes, _moves, _changes_a_movement)
}


@given(history=histories())
def test_what_is_booked_is_what_is_true(history: Bookkeeping) -> None:
    """Each fact is balanced, or it would not be there."""
    sellers_accounts_say_what_they_are_owed_and_have(history)
    clearing_is_what_stripe_took_and_gave(history)
    accounts_do_not_depend_on_what_was_seen_when(history)
    income_is_what_the_split_says(history)


@pytest.mark.soak
@settings(max_examples=5_000)
@given(history=histories())
def test_what_is_booked_is_what_is_true_of_thousands(history: Bookkeeping) -> None:
    """A failure prints what reproduces it."""
    sellers_accounts_say_what_they_are_owed_and_have(history)
    clearing_is_what_stripe_took_and_gave(history)
    accounts_do_not_depend_on_what_was_seen_when(history)
    income_is_what_the_split_says(history)


def made(history: Bookkeeping) -> list[Movement]:
    return [one for one in history.movements.values() if one.state is MovementState.MADE]


def sellers_accounts_say_what_they_are_owed_and_have(history: Bookkeeping) -> None:
    entries = entries_of(history.facts)
    accounts = by_account(entries)
    moved: dict[str, int] = {}
    for one in made(history):
        sign = 1 if one.kind in TO_SELLER else -1
        moved[one.seller_id] = moved.get(one.seller_id, 0) + sign * one.charge_minor
    owed = {one.seller_id: one for one in positions(history.intents[1], history.refunds.values(), ())}
    for seller_id in {*moved, *owed}:
        held = owed[seller_id].held_minor if seller_id in owed else 0
        target = owed[seller_id].target_minor if seller_id in owed else 0
        assert accounts.get(f"seller_held:{seller_id}", 0) == -held
        assert accounts.get(f"seller:{seller_id}", 0) == moved.get(seller_id, 0) - target


def clearing_is_what_stripe_took_and_gave(history: Bookkeeping) -> None:
    """So it is 0 once the balance transactions are booked: of charges, refunds, disputes and what moved to sellers."""
    took = sum(one.captured_minor for one in history.intents.values())
    gave = sum(one.amount_minor for one in history.refunds.values() if one.state in ("PENDING", "SUCCEEDED"))
    for intent in history.intents.values():
        gave += sum(one.amount_minor for one in intent.disputes if one.standing in ("OPEN", "LOST"))
    moved = {"CHF": 0, "EUR": 0}
    for one in made(history):
        if one.kind in NOT_AT_STRIPE:
            continue  # nothing moves at Stripe
        sign = 1 if one.kind in TO_SELLER else -1
        moved[one.currency_code] += sign * one.amount_minor
    entries = entries_of(history.facts)
    for currency_code, expected in (("CHF", took - gave - moved["CHF"]), ("EUR", -moved["EUR"])):
        accounts = by_account(entries, currency_code=currency_code)
        assert accounts.get("stripe_clearing", 0) == expected
        assert accounts.get("unclassified", 0) == 0


def accounts_do_not_depend_on_what_was_seen_when(history: Bookkeeping) -> None:
    at_once = Bookkeeping(*history.first.split.lines if history.first.split else ())
    at_once.intents, at_once.refunds, at_once.movements = history.intents, history.refunds, history.movements
    at_once.post()

    for currency_code in ("CHF", "EUR"):
        assert by_account(entries_of(at_once.facts), currency_code=currency_code) == by_account(
            entries_of(history.facts), currency_code=currency_code
        )
    names = [one.fact for one in history.facts]
    assert not [name for name in names if name.startswith("adjusted:")]
    assert len(names) == len(set(names))
    assert history.post() == ()


def income_is_what_the_split_says(history: Bookkeeping) -> None:
    """Income is what the shares of what stands say: it is neither lost nor made by the way in which things came."""
    split = history.intents[1].split
    assert split is not None
    standing = {one.line.line_id: one.standing_minor for one in lines_of(history.intents[1], history.refunds.values())}
    shares = [split.shares(line, standing) for line in split.lines]
    accounts = by_account(entries_of(history.facts))
    assert accounts.get("platform_fee", 0) == -sum(one.platform_fee_minor for one in shares)
    assert accounts.get("discounts_funded", 0) == sum(one.discounts_funded_minor for one in shares)
    vat = sum(minor for name, minor in accounts.items() if name.startswith(Account.VAT_PAYABLE))
    assert vat == -sum(one.fee_vat_minor + one.platform_vat_minor for one in shares)

"""What of a part of a charge falls to whom: all of it is the quote's, and the order of things does not matter."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.split import LinePart, Split, of_fee, spread, with_total


@st.composite
def splits(draw: st.DrawFn) -> Split:
    """Splits of a few lines of a few sellers; some with platform-funded discounts, some in steps."""
    step = draw(st.sampled_from([1, 10, 100]))
    units = st.integers(0, 2_000)
    lines = []
    for number in range(draw(st.integers(1, 5))):
        seller, fee, fee_vat, vat, surcharges = (draw(units) * step for _ in range(5))
        funded = draw(st.integers(0, (seller + fee + fee_vat + vat + surcharges) // step)) * step
        lines.append(
            LinePart(
                line_id=f"line-{number}",
                seller_id=draw(st.sampled_from(["s1", "s2", "s3"])),
                gross_minor=seller + fee + fee_vat + vat + surcharges - funded,
                seller_minor=seller,
                platform_fee_minor=fee,
                fee_vat_minor=fee_vat,
                platform_vat_minor=vat,
                discounts_funded_minor=funded,
                surcharges_minor=surcharges,
            )
        )
    return Split(lines=tuple(lines), step_minor=step)


@given(splits(), st.data())
def test_the_shares_of_what_stands_add_up_to_it_and_all_of_it_is_the_quotes(split: Split, data: st.DataObject) -> None:
    some = split.of_amount(data.draw(st.integers(0, split.total_minor // split.step_minor)) * split.step_minor)
    whole = {line.line_id: line.gross_minor for line in split.lines}
    for line in split.lines:
        share = split.shares(line, some)
        kept = share.platform_fee_minor + share.fee_vat_minor + share.platform_vat_minor + share.surcharges_minor
        added = share.seller_minor + kept + share.rounding_minor - share.discounts_funded_minor
        assert added == some[line.line_id]
        assert share.seller_minor == split.seller_minor(line, some)
        everything = split.shares(line, whole)
        for field in fields(everything):
            if line.gross_minor:  # of a line that comes to nothing no part stands, so nothing is shared
                assert getattr(everything, field.name) == getattr(line, field.name)
            assert getattr(share, field.name) % split.step_minor == 0


@given(splits(), st.data())
def test_a_seller_never_has_less_while_more_stands(split: Split, data: st.DataObject) -> None:
    line = data.draw(st.sampled_from(split.lines))
    others = {one.line_id: 0 for one in split.lines}
    units = line.gross_minor // split.step_minor
    less = data.draw(st.integers(0, units)) * split.step_minor
    more = data.draw(st.integers(less // split.step_minor, units)) * split.step_minor
    assert split.seller_minor(line, others | {line.line_id: less}) <= split.seller_minor(
        line, others | {line.line_id: more}
    )


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=6), st.data())
def test_amounts_that_add_up_to_the_whole_take_from_each_what_it_had(weights: list[int], data: st.DataObject) -> None:
    left = {str(number): weight for number, weight in enumerate(weights)}
    while sum(left.values()):
        taken = spread(data.draw(st.integers(1, sum(left.values()))), left)
        assert all(0 <= taken[key] <= left[key] for key in left)
        left = {key: left[key] - taken[key] for key in left}
    assert spread(100, left) == dict.fromkeys(left, 0)


@pytest.mark.parametrize(("fee", "parts"), [(10_000, [3_333, 3_333, 3_334]), (12_501, [4_166, 4_167, 4_168])])
def test_a_fee_over_thirds_comes_to_the_fee(fee: int, parts: list[int]) -> None:
    weights = {"s1": 3_333, "s2": 3_333, "s3": 3_334}
    shares = spread(fee, {key: weight * 10 for key, weight in weights.items()})
    assert sum(shares.values()) == fee
    assert sorted(shares.values()) == sorted(parts)


def test_a_line_that_costs_nothing_stands_as_far_as_the_whole_does() -> None:
    free = LinePart(
        line_id="free",
        seller_id="s1",
        gross_minor=0,
        seller_minor=850,
        platform_fee_minor=150,
        discounts_funded_minor=1_000,
    )
    split = Split(lines=(free, of_fee("s2", amount_minor=1_000, fee_minor=150).lines[0]))
    assert split.seller_minor(free, {"free": 0, "": 1_000}) == 850
    assert split.seller_minor(free, {"free": 0, "": 400}) == 340
    assert split.seller_minor(free, {"free": 0, "": 0}) == 0


def test_what_rounding_to_cash_adds_is_the_first_lines() -> None:
    split = with_total(of_fee("s1", amount_minor=998, fee_minor=100), 1_000)
    assert (split.total_minor, split.lines[0].rounding_minor, split.lines[0].seller_minor) == (1_000, 2, 898)
    assert split.shares(split.lines[0], {"": 1_000}).rounding_minor == 2

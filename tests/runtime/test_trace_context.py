"""Which trace a call belongs to, and whether it is recorded, follow from its correlation id: here and everywhere."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.observability.trace_context import (
    ORIGIN_CHARACTERS_MAX,
    Origin,
    SpanRef,
    bound_of,
    follow_up,
    is_chosen,
    trace_id_of,
)

CORRELATIONS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
SPAN_IDS = st.integers(1, (1 << 64) - 1)


def test_an_id_in_the_form_of_ours_is_its_own_trace_id() -> None:
    assert f"{trace_id_of('0af7651916cd43dd8448eb211c80319c'):032x}" == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("correlation", "trace_id"),
    [
        ("order-7", "df8cf80227ec3237922df0ecd88385c5"),
        ("0" * 32, "84e0c0eafaa95a34c293f278ac52e45c"),  # no trace may have that id
        ("0AF7651916CD43DD8448EB211C80319C", "2fcd6af50d8efa4893ee1b300a6432a9"),
    ],
)
def test_any_other_is_hashed(correlation: str, trace_id: str) -> None:
    assert f"{trace_id_of(correlation):032x}" == trace_id


@given(CORRELATIONS)
def test_nothing_is_recorded_at_0_and_everything_at_1(correlation: str) -> None:
    assert not is_chosen(trace_id_of(correlation), bound_of(0))
    assert is_chosen(trace_id_of(correlation), bound_of(1))


def test_a_tenth_is_about_a_tenth() -> None:
    ours = sum(is_chosen(trace_id_of(secrets.token_hex(16)), bound_of(0.1)) for _ in range(10_000))
    foreign = sum(is_chosen(trace_id_of(f"evt_{number}"), bound_of(0.1)) for number in range(10_000))
    assert 800 < ours < 1_200
    assert 800 < foreign < 1_200


@given(CORRELATIONS, st.floats(0, 1))
def test_what_a_call_leaves_behind_is_recorded_when_the_call_is(correlation: str, ratio: float) -> None:
    bound = bound_of(ratio)
    later = follow_up(correlation)
    latest = follow_up(later)
    assert is_chosen(trace_id_of(correlation), bound) is is_chosen(trace_id_of(later), bound)
    assert is_chosen(trace_id_of(correlation), bound) is is_chosen(trace_id_of(latest), bound)
    assert len({trace_id_of(correlation), trace_id_of(later), trace_id_of(latest)}) == 3


@given(st.integers(1, (1 << 128) - 1), SPAN_IDS)
def test_what_is_sent_is_what_is_read(trace_id: int, span_id: int) -> None:
    span = SpanRef(trace_id, span_id)
    assert SpanRef.from_traceparent(span.traceparent) == span


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",  # not recorded
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n",
    ],
)
def test_what_is_no_span_says_nothing(text: str) -> None:
    assert SpanRef.from_traceparent(text) is None


@given(CORRELATIONS, st.none() | SPAN_IDS)
def test_a_row_keeps_what_made_it_due(correlation: str, span_id: int | None) -> None:
    origin = Origin(correlation, span_id)
    assert Origin.read(str(origin)) == origin
    assert len(str(origin)) <= ORIGIN_CHARACTERS_MAX


@pytest.mark.parametrize("text", [None, "", "two words", "order-7/12", f"{'x' * 65}"])
def test_a_row_that_says_nothing_of_it_has_no_origin(text: str | None) -> None:
    assert Origin.read(text) is None

"""What the address of the payments' table filters by, and the address that a filter has."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from starlette.datastructures import QueryParams

from services.console.payments.filters import STATES, read


def test_an_address_is_a_filter_and_a_filter_its_address() -> None:
    query = (
        "state=SUCCEEDED&payer=payer_a&currency=CHF&least=10&most=1%27250.50&since=2026-12-24&until=2026-12-24&open=1"
    )

    chosen, wanted = read(QueryParams(query))

    assert not chosen.errors
    assert wanted.payer_id == "payer_a"
    assert (wanted.currency_code, wanted.total_min_minor, wanted.total_max_minor) == ("CHF", 1_000, 125_050)
    assert wanted.open_start_time.ToDatetime(UTC) == datetime(2026, 12, 23, 23, tzinfo=UTC)
    assert wanted.open_end_time.ToDatetime(UTC) == datetime(2026, 12, 24, 23, tzinfo=UTC)
    assert wanted.unsettled_only
    assert read(QueryParams(chosen.address("/payments").partition("?")[2]))[1] == wanted


def test_nothing_chosen_is_no_filter() -> None:
    chosen, wanted = read(QueryParams("state=&payer=++&page=x&state=NOT_ONE"))

    assert chosen.is_empty
    assert wanted.ByteSize() == 0
    assert chosen.address("/payments") == "/payments"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("least=10", "currency"),
        ("currency=CHFF", "currency"),
        ("currency=JPY&least=1.5", "least"),
        ("currency=CHF&most=-1", "most"),
        ("currency=CHF&least=20&most=10", "most"),
        ("since=24.12.2026", "since"),
        ("since=2026-12-24&until=2026-12-23", "until"),
    ],
)
def test_what_cannot_be_read_is_said_at_its_field(query: str, field: str) -> None:
    chosen, _ = read(QueryParams(query))

    assert set(chosen.errors) == {field}


def test_the_last_day_there_is_has_no_next_one() -> None:
    chosen, wanted = read(QueryParams("until=9999-12-31"))

    assert not chosen.errors
    assert not wanted.HasField("open_end_time")


def test_each_state_can_be_chosen() -> None:
    for state, _ in STATES:
        assert len(read(QueryParams(f"state={state}"))[1].states) == 1

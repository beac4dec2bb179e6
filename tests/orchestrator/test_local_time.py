"""Local times and their instants: in the nights of a clock change, in leap years, and what is no zone or time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain import local_time

ZURICH, NEW_YORK = ZoneInfo("Europe/Zurich"), ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("local", "where", "instant"),
    [
        ("2027-01-15T09:00", ZURICH, "2027-01-15T08:00+00:00"),
        ("2027-07-15T09:00", ZURICH, "2027-07-15T07:00+00:00"),
        ("2027-03-28T02:30", ZURICH, "2027-03-28T01:30+00:00"),  # left out: it is 03:30 then
        ("2027-03-28T03:00", ZURICH, "2027-03-28T01:00+00:00"),
        ("2026-10-25T02:30", ZURICH, "2026-10-25T00:30+00:00"),  # comes twice
        ("2026-10-25T03:00", ZURICH, "2026-10-25T02:00+00:00"),
        ("2027-03-14T02:30", NEW_YORK, "2027-03-14T07:30+00:00"),
        ("2026-11-01T01:30", NEW_YORK, "2026-11-01T05:30+00:00"),
        ("2028-02-29T23:59:59", ZURICH, "2028-02-29T22:59:59+00:00"),
    ],
)
def test_the_instant_of_a_local_time(local: str, where: ZoneInfo, instant: str) -> None:
    read = local_time.local_time(local)
    assert read is not None
    assert local_time.instant(read, where) == datetime.fromisoformat(instant)


def test_a_time_that_is_left_out_moves_forward() -> None:
    left_out = local_time.local_time("2027-03-28T02:30")
    assert left_out is not None
    assert local_time.wall_time(local_time.instant(left_out, ZURICH), ZURICH).isoformat() == "03:30:00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2027-02-29T09:00",
        "2027-02-30T09:00",
        "2027-13-01T09:00",
        "2027-01-01",
        "2027-01-01T24:00",
        "2027-01-01T09:00Z",
        "2027-01-01T09:00+01:00",
        "2027-01-01 09:00",
        "20270101T0900",
        "2027-01-01T09:00:00.5",
        "٢٠٢٧-01-01T09:00",
        "0000-01-01T00:00",
    ],
)
def test_what_is_no_local_time(text: str) -> None:
    assert local_time.local_time(text) is None


@pytest.mark.parametrize(
    "name", ["", "Europe", "Europe/Atlantis", "../../etc/passwd", "/etc/localtime", "+01:00", "Europe/Zurich\0", "Ä"]
)
def test_what_is_no_zone(name: str) -> None:
    assert local_time.zone(name) is None


@pytest.mark.parametrize("name", ["Europe/Zurich", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "UTC"])
def test_what_is_a_zone(name: str) -> None:
    assert local_time.zone(name) is not None


@given(
    local=st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2040, 1, 1)),  # noqa: DTZ001 a wall's
    where=st.sampled_from([ZURICH, NEW_YORK, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Africa/Casablanca")]),
)
def test_a_local_time_is_the_walls_unless_it_is_left_out_and_then_it_is_later(local: datetime, where: ZoneInfo) -> None:
    local = local.replace(microsecond=0)
    instant = local_time.instant(local, where)
    assert instant.tzinfo is UTC
    shown = instant.astimezone(where).replace(tzinfo=None, fold=0)
    assert timedelta() <= shown - local <= timedelta(hours=1)
    if shown == local:  # of one that comes twice the first is taken
        assert all(instant <= local.replace(tzinfo=where, fold=fold).astimezone(UTC) for fold in (0, 1))

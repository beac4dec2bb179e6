"""Spans and moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import typer

from batzen.cli.moments import Moment, read_moment, read_span, read_zone

ZURICH = ZoneInfo("Europe/Zurich")
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("10s", timedelta(seconds=10)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("366d", timedelta(days=366)),
    ],
)
def test_spans(text: str, span: timedelta) -> None:
    assert read_span(text) == span
    assert read_moment(text) == Moment(span=span)


@pytest.mark.parametrize("text", ["", "0s", "10", "s", "1w", "-1d", "1.5h", "10 s", "1h30m", "999999d"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_span(text)


def test_a_time_without_an_offset_is_meant_by_the_clock_of_a_zone() -> None:
    at = read_moment("2026-12-24T18:00")

    assert at.local_time == "2026-12-24T18:00:00"
    assert at.timestamp(ZURICH).ToDatetime(UTC) == datetime(2026, 12, 24, 17, tzinfo=UTC)
    assert at.timestamp(NEW_YORK).ToDatetime(UTC) == datetime(2026, 12, 24, 23, tzinfo=UTC)


def test_a_time_with_an_offset_is_an_instant() -> None:
    at = read_moment("2026-12-24T18:00+05:30")

    assert at.local_time == ""
    assert at.timestamp().ToDatetime(UTC) == datetime(2026, 12, 24, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2027-03-28T02:30", "2027-03-28T01:30"),  # that night has no 02:30: it is 03:30 by summer time
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # that night has two: the first, by summer time still
        ("2028-02-29T12:00", "2028-02-29T11:00"),
    ],
)
def test_the_nights_on_which_the_clock_changes(text: str, utc: str) -> None:
    assert read_moment(text).timestamp(ZURICH).ToDatetime() == datetime.fromisoformat(utc)


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-02-30T10:00", "18:00", "24.12.2026"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_moment(text)


@pytest.mark.parametrize("text", ["", "Zurich", "Europe/Nowhere", "../../etc/passwd", "/etc/passwd", "CEST+1"])
def test_what_is_no_zone(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_zone(text)


def test_a_zone() -> None:
    assert read_zone("Europe/Zurich").key == "Europe/Zurich"

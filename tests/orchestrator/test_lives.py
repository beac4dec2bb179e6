"""Lives end at every place, or at some that are every one together; a walk on which nothing dies fails."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.orchestrator.lives import Died, each_life

PLACES = [f"place {number}" for number in range(8)]


def ends(places: list[str], *, first: int = 1, step: int = 1) -> list[str]:
    """Return where each life ended that walked through all of these places; the last one did not."""
    ended = []
    for life in each_life(first=first, step=step):
        with suppress(Died):
            for place in places:
                life.reach(place)
        ended.append(life.place)
    return ended


def test_lives_end_at_each_place_and_the_last_is_long_enough() -> None:
    assert ends(PLACES) == [*PLACES, ""]


def test_some_places_of_tests_that_begin_differently_are_every_place() -> None:
    some = [ends(PLACES, first=first, step=3)[:-1] for first in (1, 2, 3)]

    assert all(2 <= len(one) <= 3 for one in some)
    assert sorted(place for one in some for place in one) == PLACES


def test_where_nothing_dies_nothing_is_shown() -> None:
    with pytest.raises(AssertionError, match="nothing dies"):
        ends(PLACES[:1], first=2, step=3)

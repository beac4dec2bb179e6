"""The checker is checked: a model that keeps the contract is found right, and each way to break it is found out."""

from __future__ import annotations

from typing import Final

import pytest

from tests.status.history.checker.findings import Kind, kinds
from tests.status.history.model.bugs import Bug
from tests.status.history.model.playing import Played, play

SEED: Final = "3"
ROUNDS_MAX: Final = 3
"""A round lasts until the bug has shown itself; a busy machine may delay whoever would have seen it."""

QUICK: Final = frozenset(
    {
        Bug.SKIPS_ON_RESUME,
        Bug.REPEATS,
        Bug.HEADER_AHEAD,
        Bug.ENDS_UNSETTLED,
        Bug.CANCEL_AHEAD,
        Bug.FEED_OUTSIDE,
        Bug.CURSOR_LOST,
        Bug.LOST_UPDATE,
        Bug.FORGETS,
    }
)
"""One or two of each part of the checker, which `make test` has."""

FOUND_AS: Final = {
    Bug.SKIPS_ON_RESUME: {Kind.WRONG_BEGIN},
    Bug.REPEATS_ON_RESUME: {Kind.WRONG_BEGIN},
    Bug.DROPS_ON_OVERFLOW: {Kind.GAP, Kind.WRONG_BEGIN},
    Bug.HINT_AS_TRUTH: {Kind.CONTENT, Kind.NEVER_STORED},
    Bug.BEFORE_COMMIT: {Kind.BEFORE_COMMIT},
    Bug.WRONG_ORDER: {Kind.OUT_OF_ORDER},
    Bug.REPEATS: {Kind.DUPLICATE},
    Bug.OLD_CONTENT: {Kind.CONTENT},
    Bug.GOES_BACK: {Kind.OUT_OF_ORDER},
    Bug.FALLS_ASLEEP: {Kind.NOT_CAUGHT_UP},
    Bug.STALE_HEADER: {Kind.HEADER},
    Bug.HEADER_AHEAD: {Kind.HEADER},
    Bug.HEARTBEAT_AHEAD: {Kind.HEARTBEAT},
    Bug.RESUME_AHEAD: {Kind.RESUME},
    Bug.RESUME_BEHIND: {Kind.RESUME},
    Bug.ENDS_UNSETTLED: {Kind.END},
    Bug.NEVER_ENDS: {Kind.NOT_ENDED, Kind.END},
    Bug.REVISION_AHEAD: {Kind.END},
    Bug.MANY_SKIPS: {Kind.WRONG_BEGIN},
    Bug.CREATED_TWICE: {Kind.PROTOCOL},
    Bug.ADD_UNANSWERED: {Kind.UNANSWERED},
    Bug.DROP_UNANSWERED: {Kind.UNANSWERED, Kind.PROTOCOL},
    Bug.SENDS_AFTER_CANCEL: {Kind.PROTOCOL},
    Bug.CROSSED: {Kind.PROTOCOL},
    Bug.CANCEL_AHEAD: {Kind.RESUME},
    Bug.FEED_BY_SEQUENCE: {Kind.MISSED, Kind.GAP, Kind.CAUGHT_UP_EARLY},
    Bug.CURSOR_AHEAD: {Kind.MISSED, Kind.GAP, Kind.CAUGHT_UP_EARLY},
    Bug.CURSOR_LOST: {Kind.MISSED, Kind.GAP, Kind.CAUGHT_UP_EARLY},
    Bug.FEED_FROM_THE_START: {Kind.WRONG_BEGIN},
    Bug.FEED_REPEATS: {Kind.DUPLICATE},
    Bug.FEED_WRONG_ORDER: {Kind.OUT_OF_ORDER},
    Bug.FEED_OUTSIDE: {Kind.OUTSIDE, Kind.RELATION},
    Bug.LEAVES_SILENTLY: {Kind.MISSED, Kind.GAP, Kind.CAUGHT_UP_EARLY},
    Bug.ALWAYS_INSIDE: {Kind.RELATION},
    Bug.FEED_OLD_CONTENT: {Kind.CONTENT},
    Bug.CAUGHT_UP_EARLY: {Kind.CAUGHT_UP_EARLY},
    Bug.LOST_UPDATE: {Kind.LOST_UPDATE},
    Bug.ONLY_ACKNOWLEDGED: {Kind.LOST_UPDATE},
    Bug.CONFLICT_STALE: {Kind.ANSWER},
    Bug.CONFLICT_AHEAD: {Kind.ANSWER},
    Bug.REPEAT_WRITES: {Kind.HISTORY},
    Bug.REPEAT_GETS_NEWEST: {Kind.ANSWER},
    Bug.REPEAT_CONFLICTS: {Kind.ANSWER},
    Bug.STALE_READING: {Kind.STALE},
    Bug.FORGETS: {Kind.LOST_UPDATE},
    Bug.CHANGES_THE_PAST: {Kind.HISTORY},
}
"""What each bug is found as, one of it at least; other findings follow from it."""


def test_a_model_that_keeps_the_contract_is_found_right(good: Played) -> None:
    assert [str(finding) for finding in good.findings] == []
    assert sum(payment.last for payment in good.stored.values()) > 50
    for watchers in (good.report.ones, good.report.many, good.report.feeds):
        assert any(len(watcher.streams) > 1 for watcher in watchers)


@pytest.mark.parametrize("bug", [bug if bug in QUICK else pytest.param(bug, marks=pytest.mark.faults) for bug in Bug])
async def test_a_planted_bug_is_found_out(bug: Bug) -> None:
    told = []
    for number in range(ROUNDS_MAX):
        played = await play(f"{SEED}/{number}", bug=bug)
        if FOUND_AS[bug] & kinds(played.findings):
            return
        told += played.findings[:20]

    pytest.fail("\n".join(["not found out, but", *map(str, told)]), pytrace=False)

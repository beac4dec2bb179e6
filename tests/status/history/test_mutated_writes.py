"""The checker is checked: a good report of writes and readings with one thing changed is found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from tests.status.history.checker.findings import Kind, kinds
from tests.status.history.checker.writes import judge_writes
from tests.status.history.model.playing import Played
from tests.status.history.reports import Attempt, Reading, Refused, Written

MUTATED_ATTEMPTS: Final[dict[str, Callable[[Attempt], Attempt | None]]] = {
    "a loser is told a revision that is long gone": lambda one: (
        replace(one, outcome=replace(one.outcome, current_revision=1))
        if isinstance(one.outcome, Refused) and one.outcome.current_revision and one.expected_revision > 1
        else None
    ),
    "a loser is told a revision that is not there": lambda one: (
        replace(one, outcome=replace(one.outcome, current_revision=one.outcome.current_revision + 100))
        if isinstance(one.outcome, Refused) and one.outcome.current_revision
        else None
    ),
    "a loser is told what it expected": lambda one: (
        replace(one, outcome=replace(one.outcome, current_revision=one.expected_revision))
        if isinstance(one.outcome, Refused) and one.outcome.current_revision
        else None
    ),
    "a winner is told another revision": lambda one: (
        replace(one, outcome=replace(one.outcome, revision=one.outcome.revision + 1))
        if isinstance(one.outcome, Written) and one.expected_revision
        else None
    ),
    "a winner is told that there is a conflict": lambda one: (
        replace(
            one,
            outcome=Refused(code="ABORTED", reason="REVISION_CONFLICT", current_revision=one.expected_revision + 1),
        )
        if isinstance(one.outcome, Written) and one.expected_revision
        else None
    ),
    "a winner is told another content": lambda one: (
        replace(one, outcome=replace(one.outcome, transition=b""))
        if isinstance(one.outcome, Written) and one.expected_revision
        else None
    ),
    "what was asked for is not what is stored": lambda one: (
        replace(one, snapshot=b"") if isinstance(one.outcome, Written) and one.expected_revision else None
    ),
    "the write expected another revision": lambda one: (
        replace(one, expected_revision=one.expected_revision + 1)
        if isinstance(one.outcome, Written) and one.expected_revision
        else None
    ),
    "the write is not stored": lambda one: (
        replace(one, request_id="lost") if isinstance(one.outcome, Written) and one.expected_revision else None
    ),
}


@pytest.mark.parametrize("mutation", MUTATED_ATTEMPTS)
def test_writes_are_not_right_if(good: Played, mutation: str) -> None:
    attempts = list(good.report.attempts)
    once = [one.request_id for one in attempts]
    checked = 0
    for index, attempt in enumerate(attempts):
        mutated = MUTATED_ATTEMPTS[mutation](attempt)
        if mutated is not None and once.count(attempt.request_id) == 1:
            tried = [*attempts[:index], mutated, *attempts[index + 1 :]]
            tried = [one for one in tried if one.payment_id == attempt.payment_id]
            found = judge_writes(tried, [], good.stored, good.lines)
            assert kinds(found) & {Kind.ANSWER, Kind.HISTORY, Kind.LOST_UPDATE}, attempt
            checked += 1

    assert checked


def test_a_reading_is_not_right_if_it_is_of_another_time(good: Played) -> None:
    checked = 0
    for reading in good.report.readings:
        row = good.stored[reading.payment_id].revisions[0]
        old = Reading(
            payment_id=reading.payment_id,
            asked_us=reading.asked_us,
            answered_us=reading.answered_us,
            revision=1,
            payment=row.payment,
        )
        if good.lines[reading.payment_id].known_by(reading.asked_us) > 1:
            found = judge_writes([], [old], good.stored, good.lines)
            assert Kind.STALE in kinds(found)
            checked += 1

    assert checked

"""The checker is checked: a good report of watches with one thing changed, at whatever place, is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from tests.status.history.checker.findings import Kind, kinds
from tests.status.history.checker.many import judge_many
from tests.status.history.checker.watches import judge_stretch
from tests.status.history.model.playing import Played
from tests.status.history.reports import Alive, Began, Came, Ended, ManyStream, Stretch


def places(stretch: Stretch, kind: type) -> list[int]:
    return [index for index, event in enumerate(stretch.events) if isinstance(event, kind)]


Mutated = Iterator[Stretch]


def one_is_left_out(_good: Played, stretch: Stretch) -> Mutated:
    for index in places(stretch, Came)[:-1]:
        if not stretch.asked.latest_only:
            yield replace(stretch, events=stretch.events[:index] + stretch.events[index + 1 :])


def the_last_never_comes(_good: Played, stretch: Stretch) -> Mutated:
    came = places(stretch, Came)
    if came and stretch.ended is None:
        yield replace(stretch, events=[e for i, e in enumerate(stretch.events) if i < came[-1] or isinstance(e, Began)])


def one_comes_twice(_good: Played, stretch: Stretch) -> Mutated:
    for index in places(stretch, Came):
        yield replace(stretch, events=stretch.events[: index + 1] + stretch.events[index:])


def two_change_places(_good: Played, stretch: Stretch) -> Mutated:
    for index in places(stretch, Came):
        if index + 1 in places(stretch, Came):
            events = list(stretch.events)
            events[index], events[index + 1] = events[index + 1], events[index]
            yield replace(stretch, events=events)


def one_carries_the_content_of_another(good: Played, stretch: Stretch) -> Mutated:
    rows = good.stored[stretch.asked.payment_id].revisions
    for index in places(stretch, Came):
        came = stretch.events[index]
        assert isinstance(came, Came)
        other = rows[came.revision - 2].transition
        yield replace(
            stretch, events=[*stretch.events[:index], replace(came, content=other), *stretch.events[index + 1 :]]
        )


def one_comes_that_was_never_stored(good: Played, stretch: Stretch) -> Mutated:
    for index in places(stretch, Came):
        last = good.stored[stretch.asked.payment_id].last
        came = replace(stretch.events[index], revision=last + 1)  # type: ignore[type-var]
        yield replace(stretch, events=[*stretch.events[: index + 1], came, *stretch.events[index + 1 :]])


def one_comes_before_its_commit(good: Played, stretch: Stretch) -> Mutated:
    rows = good.stored[stretch.asked.payment_id].revisions
    for index in places(stretch, Came):
        came = stretch.events[index]
        assert isinstance(came, Came)
        early = replace(came, at_us=rows[came.revision - 1].committed_us - 1)
        yield replace(stretch, events=[*stretch.events[:index], early, *stretch.events[index + 1 :]])


def it_began_after_what_was_asked_for(_good: Played, stretch: Stretch) -> Mutated:
    if stretch.asked.after_revision and not stretch.asked.latest_only and places(stretch, Came):
        asked = replace(stretch.asked, after_revision=stretch.asked.after_revision - 1)
        yield replace(stretch, asked=asked)


def it_began_with_what_the_watcher_had(_good: Played, stretch: Stretch) -> Mutated:
    after = stretch.asked.after_revision
    if after is not None and not stretch.asked.latest_only and places(stretch, Came):
        began = next(event for event in stretch.events if isinstance(event, Began))
        if began.current_revision > after:
            asked = replace(stretch.asked, after_revision=after + 1)
            yield replace(stretch, asked=asked)


def the_header_is_ahead(good: Played, stretch: Stretch) -> Mutated:
    for index in places(stretch, Began):
        began = stretch.events[index]
        assert isinstance(began, Began)
        line = good.lines[stretch.asked.payment_id]
        ahead = replace(began, current_revision=line.possible_by(began.at_us) + 1)
        yield replace(stretch, events=[ahead, *stretch.events[1:]])


def the_header_is_stale(good: Played, stretch: Stretch) -> Mutated:
    for index in places(stretch, Began):
        began = stretch.events[index]
        assert isinstance(began, Began)
        known = good.lines[stretch.asked.payment_id].known_by(stretch.asked.at_us)
        if known > 1:
            yield replace(stretch, events=[replace(began, current_revision=known - 1), *stretch.events[1:]])


def there_is_no_header(_good: Played, stretch: Stretch) -> Mutated:
    if places(stretch, Came):
        yield replace(stretch, events=[event for event in stretch.events if not isinstance(event, Began)])


def there_are_two_headers(_good: Played, stretch: Stretch) -> Mutated:
    if places(stretch, Began):
        yield replace(stretch, events=[stretch.events[0], *stretch.events])


def a_heartbeat_is_ahead(_good: Played, stretch: Stretch) -> Mutated:
    for index in places(stretch, Alive):
        alive = stretch.events[index]
        assert isinstance(alive, Alive)
        ahead = replace(alive, revision=(alive.revision or 0) + 1)
        yield replace(stretch, events=[*stretch.events[:index], ahead, *stretch.events[index + 1 :]])


def it_resumes_elsewhere(_good: Played, stretch: Stretch) -> Mutated:
    ended = stretch.ended
    if ended is not None and ended.resume_after_revision is not None and places(stretch, Began):
        [began] = (stretch.events[index] for index in places(stretch, Began))
        begin = stretch.asked.after_revision
        begin = began.current_revision if begin is None else begin  # type: ignore[union-attr]
        for wrong in (ended.resume_after_revision + 1, begin - 1, None):
            yield replace(stretch, events=[*stretch.events[:-1], replace(ended, resume_after_revision=wrong)])


def it_ended_too_early(_good: Played, stretch: Stretch) -> Mutated:
    if stretch.ended is None and not stretch.asked.until_settled:
        yield replace(stretch, events=[*stretch.events, Ended(at_us=stretch.asked.at_us, code="OK")])
        refused = Ended(at_us=stretch.asked.at_us, code="NOT_FOUND", reason="PAYMENT_NOT_FOUND")
        yield replace(stretch, events=[*stretch.events, refused])


def nobody_ended_it(_good: Played, stretch: Stretch) -> Mutated:
    if stretch.ended is not None and stretch.ended.code == "OK" and places(stretch, Came):
        yield replace(stretch, events=stretch.events[:-1])


MUTATED_WATCHES: Final[dict[Callable[[Played, Stretch], Mutated], set[Kind]]] = {
    one_is_left_out: {Kind.GAP, Kind.WRONG_BEGIN},
    the_last_never_comes: {Kind.NOT_CAUGHT_UP},
    one_comes_twice: {Kind.DUPLICATE},
    two_change_places: {Kind.OUT_OF_ORDER},
    one_carries_the_content_of_another: {Kind.CONTENT},
    one_comes_that_was_never_stored: {Kind.NEVER_STORED},
    one_comes_before_its_commit: {Kind.BEFORE_COMMIT},
    it_began_after_what_was_asked_for: {Kind.WRONG_BEGIN},
    it_began_with_what_the_watcher_had: {Kind.WRONG_BEGIN},
    the_header_is_ahead: {Kind.HEADER},
    the_header_is_stale: {Kind.HEADER},
    there_is_no_header: {Kind.PROTOCOL},
    there_are_two_headers: {Kind.PROTOCOL},
    a_heartbeat_is_ahead: {Kind.HEARTBEAT},
    it_resumes_elsewhere: {Kind.RESUME},
    it_ended_too_early: {Kind.END},
    nobody_ended_it: {Kind.NOT_ENDED, Kind.NOT_CAUGHT_UP},
}


@pytest.mark.parametrize("mutation", MUTATED_WATCHES, ids=lambda mutation: mutation.__name__)
def test_a_watch_is_not_right_if(good: Played, mutation: Callable[[Played, Stretch], Mutated]) -> None:
    stretches = [stretch for watcher in good.report.ones for stretch in watcher.streams]
    mutated = [one for stretch in stretches for one in mutation(good, stretch)]

    assert mutated
    for stretch in mutated:
        found = judge_stretch(stretch, good.stored, good.lines)
        assert MUTATED_WATCHES[mutation] & kinds(found), stretch


@pytest.mark.parametrize("what", [Began, Ended])
def test_a_watch_of_many_is_not_right_if_an_answer_is_left_out_or_comes_twice(good: Played, what: type) -> None:
    checked = 0
    for watcher in good.report.many:
        for stream in watcher.streams:
            for index, event in enumerate(stream.events):
                if isinstance(event, what) and event.payment_id:  # type: ignore[attr-defined]
                    for events in without_or_twice(stream, index):
                        mutated = replace(stream, events=events)
                        found = kinds(judge_many(mutated, good.stored, good.lines))
                        assert found & {Kind.PROTOCOL, Kind.UNANSWERED}, event
                        checked += 1

    assert checked


def without_or_twice(stream: ManyStream, index: int) -> Iterator[list[Any]]:
    yield [*stream.events[: index + 1], *stream.events[index:]]
    later = stream.events[index + 1 :]
    payment_id = getattr(stream.events[index], "payment_id", "")
    if stream.ended is None or any(getattr(event, "payment_id", "") == payment_id for event in later):
        yield stream.events[:index] + later

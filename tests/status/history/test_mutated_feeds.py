"""The checker is checked: a good report of feeds with one thing changed, at whatever place, is found out."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

from tests.status.history.checker.feeds import Feeds
from tests.status.history.checker.findings import Kind, kinds
from tests.status.history.model.playing import Played
from tests.status.history.reports import AfterMessage, FeedStream

CHANGES_MAX: Final = 150
"""Each means judging its whole feed again."""


def feeds_of(good: Played) -> list[FeedStream]:
    return [stream for feed in good.report.feeds for stream in feed.streams]


def judged(good: Played, stream: FeedStream) -> set[Kind]:
    return kinds(Feeds(good.stored, good.lines).judge(stream))


def with_changes(stream: FeedStream, index: int, changes: tuple[Any, ...]) -> FeedStream:
    messages = list(stream.messages)
    messages[index] = replace(messages[index], changes=changes)
    return replace(stream, messages=messages)


def some_changes(good: Played) -> list[tuple[FeedStream, int, int]]:
    every = [
        (stream, index, place)
        for stream in feeds_of(good)
        for index, message in enumerate(stream.messages)
        for place in range(len(message.changes))
    ]
    return random.Random(0).sample(every, min(CHANGES_MAX, len(every)))


def test_a_feed_is_not_right_if_a_change_it_owes_is_left_out(good: Played) -> None:
    checked = 0
    for stream, index, place in some_changes(good):
        change = stream.messages[index].changes[place]
        owed = Feeds(good.stored, good.lines).owed(stream)
        is_last = change.revision == good.stored[change.payment_id].last
        if (change.payment_id, change.revision) in owed and (stream.ended is None or not is_last):
            changes = stream.messages[index].changes
            mutated = with_changes(stream, index, changes[:place] + changes[place + 1 :])
            later = [
                one
                for message in mutated.messages
                for one in message.changes
                if one.payment_id == change.payment_id and one.revision > change.revision
            ]
            if stream.ended is None or later:
                assert judged(good, mutated) & {Kind.MISSED, Kind.GAP}
                checked += 1

    assert checked


def test_a_feed_is_not_right_if_it_leaves_its_reader_without_a_cursor(good: Played) -> None:
    checked = 0
    for stream in feeds_of(good):
        for index, message in enumerate(stream.messages):
            is_last = index == len(stream.messages) - 1 and (stream.ended is None or stream.ended.code == "OK")
            if is_last or not message.changes:
                messages = list(stream.messages)
                messages[index] = replace(message, cursor="")
                assert Kind.NO_CURSOR in judged(good, replace(stream, messages=messages))
                checked += 1

    assert checked


def test_a_feed_is_not_right_if_a_change_comes_twice(good: Played) -> None:
    for stream, index, place in some_changes(good):
        changes = stream.messages[index].changes
        again = (*changes[: place + 1], changes[place], *changes[place + 1 :])
        assert Kind.DUPLICATE in judged(good, with_changes(stream, index, again))


def test_a_feed_is_not_right_if_a_change_tells_another_relation_or_content(good: Played) -> None:
    for stream, index, place in some_changes(good):
        changes = stream.messages[index].changes
        change = changes[place]
        relation = "LEFT" if change.relation == "INSIDE" else "INSIDE"
        for wrong, kind in (
            (replace(change, relation=relation), Kind.RELATION),
            (replace(change, content=b""), Kind.CONTENT),
            (replace(change, revision=good.stored[change.payment_id].last + 1), Kind.NEVER_STORED),
        ):
            mutated = with_changes(stream, index, (*changes[:place], wrong, *changes[place + 1 :]))
            assert kind in judged(good, mutated)


def test_a_feed_is_not_right_if_it_goes_on_further_than_its_cursor(good: Played) -> None:
    """Whoever goes on after a message is owed all that came later, whatever came in between to others."""
    checked = 0
    for stream in feeds_of(good):
        origin = stream.origin
        if not isinstance(origin, AfterMessage) or stream.ended is not None:
            continue
        for index in range(origin.index):
            earlier = replace(stream, origin=AfterMessage(stream=origin.stream, index=index))
            between = {
                (change.payment_id, change.revision)
                for message in origin.stream.messages[index + 1 : origin.index + 1]
                for change in message.changes
            }
            if between - {(c.payment_id, c.revision) for m in stream.messages for c in m.changes}:
                assert judged(good, earlier) & {Kind.MISSED, Kind.GAP}
                checked += 1

    assert checked

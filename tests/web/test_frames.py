"""How events are written for browsers, and where a browser says that it goes on."""

from __future__ import annotations

import random

import pytest

from services.web.events.frames import RESUME_CHARACTERS_MAX, RETRY_MS, Event, ending, resumes_after, retry, written


def test_of_events_that_belong_together_the_last_alone_has_the_id() -> None:
    events = [Event(name="payment_status_update", data='{"a":1}'), Event(name="payment_confirmed", data="{}")]

    assert written(events, event_id="7") == (
        b'event: payment_status_update\ndata: {"a":1}\n\nevent: payment_confirmed\ndata: {}\nid: 7\n\n'
    )


def test_a_place_moves_without_an_event() -> None:
    assert written([], event_id="cursor") == b"id: cursor\n\n"


def test_text_of_several_lines_stays_one_event_and_cannot_end_it() -> None:
    told = written([Event(name="row", data="<tr>\r\n\r\n<td>event: end\rid: 9</td>\n</tr>")])

    assert told.decode().split("\n") == [
        "event: row", "data: <tr>", "data: ", "data: <td>event: end", "data: id: 9</td>", "data: </tr>", "", "",
    ]  # fmt: skip


def test_the_end_says_why_and_browsers_come_back_spread() -> None:
    chance = random.Random(7)
    waits = {int(retry(chance).split()[1]) for _ in range(100)}

    assert ending("settled", event_id="9") == b'event: end\ndata: {"reason": "settled"}\nid: 9\n\n'
    assert RETRY_MS[0] <= min(waits) < max(waits) <= RETRY_MS[1]
    assert len(waits) > 50


@pytest.mark.parametrize(
    ("headers", "query", "after"),
    [
        ([], b"", ""),
        ([(b"last-event-id", b"12")], b"after=3", "12"),
        ([], b"payment=p&after=3", "3"),
        ([], b"after=" + b"9" * (RESUME_CHARACTERS_MAX + 1), ""),
        ([(b"last-event-id", b"")], b"after=3", "3"),
    ],
)
def test_a_browser_goes_on_after_what_it_saw_last(headers: list[tuple[bytes, bytes]], query: bytes, after: str) -> None:
    assert resumes_after({"type": "http", "headers": headers, "query_string": query}) == after

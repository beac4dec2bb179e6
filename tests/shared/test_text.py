"""Text from outside becomes storable, and what is storable stays as it is."""

from __future__ import annotations

import json

import pytest

from services.shared.text import storable, storable_json

WILD = ["", "plain", "Zürich 🍋", "a\0b", "\0", "\ud83d", "\ude00\ud83d", "x" * 50, "🍋" * 50, "é\0\udfff" * 20]


@pytest.mark.parametrize("text", WILD)
@pytest.mark.parametrize("characters_max", [0, 1, 2, 10, 1_000])
def test_what_comes_out_can_be_encoded_has_no_nul_and_is_no_longer_than_asked(text: str, characters_max: int) -> None:
    out = storable(text, characters_max=characters_max)
    assert "\0" not in out
    assert out.encode().decode() == out
    assert len(out) <= characters_max
    assert storable(out, characters_max=characters_max) == out


@pytest.mark.parametrize("text", ["", "plain", "Zürich 🍋", "line\nbreak\ttab"])
def test_what_is_fit_already_stays_as_it_is(text: str) -> None:
    assert storable(text, characters_max=100) == text


def test_only_the_character_that_cannot_be_stored_is_replaced() -> None:
    assert storable("a\0b\ud83dc", characters_max=100) == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


def test_a_pair_that_was_written_apart_is_one_character() -> None:
    assert storable("\ud83c" + "\udf4b", characters_max=100) == "🍋"


def test_a_text_that_is_too_long_keeps_its_beginning_and_says_that_it_was_cut() -> None:
    assert storable("abcdef", characters_max=4) == "abc…"


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (rb'{"a\u0000": ["\ud83d", 1, null]}', {"a\N{REPLACEMENT CHARACTER}": ["\N{REPLACEMENT CHARACTER}", 1, None]}),
        (rb'"\ud83c\udf4b"', "🍋"),
        (rb'"\uDE00\uD83D"', "\N{REPLACEMENT CHARACTER}" * 2),
        (rb'"\\u0000 is written so"', "\\u0000 is written so"),
        (rb'"\\\u0000"', "\\\N{REPLACEMENT CHARACTER}"),
        (rb'"\ud83d\\udf4b"', "\N{REPLACEMENT CHARACTER}\\udf4b"),
        ('"Zürich 🍋"'.encode(), "Zürich 🍋"),
    ],
)
def test_what_json_says_in_escapes_becomes_storable_and_nothing_else_changes(body: bytes, read: object) -> None:
    assert json.loads(storable_json(body)) == read


def test_json_without_such_an_escape_stays_as_it_is() -> None:
    body = b'{"id": "evt_1", "text": "line\\nbreak \\u00fc"}'
    assert storable_json(body) is body

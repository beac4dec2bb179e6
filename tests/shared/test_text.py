"""Text from outside becomes storable, and what is storable stays as it is."""

from __future__ import annotations

import json

import pytest

from services.shared.text import encodable_json, storable

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


def test_texts_and_keys_anywhere_in_json_become_storable() -> None:
    read = json.loads('{"a\\u0000": [{"b": "\\ud83d"}, 1, null, true], "c": "fine"}')
    assert encodable_json(read) == {
        "a\N{REPLACEMENT CHARACTER}": [{"b": "\N{REPLACEMENT CHARACTER}"}, 1, None, True],
        "c": "fine",
    }

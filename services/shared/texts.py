"""What is said to people, in each language: one TOML file a language, all with the same keys and placeholders.

texts = Texts(Path(__file__).parent / "texts")
texts.say("de", "decline.bank.title")
texts.say("en", "too_many", minutes="5")
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

LANGUAGES: Final = ("de", "fr", "it", "en")
DEFAULT: Final = "en"


class Texts:
    """The catalogue of one room."""

    def __init__(self, folder: Path) -> None:
        self._texts = {
            language: dict(_flat(tomllib.loads((folder / f"{language}.toml").read_text(encoding="utf-8"))))
            for language in LANGUAGES
        }

    def say(self, language: str, key: str, **values: str) -> str:
        """Return a text with its values in it. KeyError for what no language has."""
        return self._texts[language][key].format_map(values)

    def has(self, key: str) -> bool:
        """Tell whether there is such a text."""
        return key in self._texts[DEFAULT]

    def keys(self, language: str) -> frozenset[str]:
        """Return all keys of a language."""
        return frozenset(self._texts[language])

    def placeholders(self, language: str, key: str) -> frozenset[str]:
        """Return the names that a text wants values for."""
        return frozenset(name for _, name, _, _ in string.Formatter().parse(self._texts[language][key]) if name)


def _flat(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", str(value).strip()

"""Text that others wrote, made fit to be stored, sent and logged.

PostgreSQL takes no NUL, and neither it nor protobuf takes half of a surrogate pair; JSON carries both. A text that
cannot be stored would strand the work that it belongs to, so it is made storable where it comes in.
"""

from __future__ import annotations

from typing import Any, Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands for each character that cannot be stored; what a decoder puts there, too."""
CUT: Final = "…"
"""Ends a text that was cut."""


def storable(text: str, *, characters_max: int) -> str:
    """Return `text` as PostgreSQL, protobuf and UTF-8 take it, its beginning where it is longer than `characters_max`.

    A text that is fit already comes back as it is.
    """
    if len(text) > characters_max:
        text = text[: max(0, characters_max - len(CUT))] + CUT[:characters_max]
    return encodable(text)


def encodable(text: str) -> str:
    """Return `text` with a replacement for each NUL and each half of a surrogate pair, however long it is."""
    if "\0" in text:
        text = text.replace("\0", REPLACEMENT)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins pairs that were written apart
    return text


def encodable_json(value: Any) -> Any:
    """Return what was read from JSON with `encodable` applied to each text and each key in it."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(key): encodable_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [encodable_json(inner) for inner in value]
    return value

"""Text that others wrote, made fit to be stored, sent and logged.

PostgreSQL takes no NUL, and neither it nor protobuf takes half of a surrogate pair; JSON carries both. A text that
cannot be stored would strand the work that it belongs to, so it is made storable where it comes in.
"""

from __future__ import annotations

import re
from typing import Final

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


def without_addresses(text: str) -> str:
    """Return `text` with `…@…` in the place of each e-mail address."""
    return _ADDRESS.sub("…@…", text) if "@" in text else text


def storable_json(body: bytes) -> bytes:
    """Return JSON in which nothing stands escaped that cannot be stored once it is read; other bytes stay as they are.

    Only an escape can say such a character: a bare NUL is no JSON, and half of a pair no UTF-8.
    """
    return _ESCAPE.sub(_storable_escape, body) if _UNSTORABLE.search(body) else body


_ADDRESS: Final = re.compile(r"[^\s@\"'`<>()\[\]{},;:=/?&\\]+@[^\s@\"'`<>()\[\]{},;:=/?&\\]+")
"""As it may stand in a sentence, in JSON or in a query; what is between quotes or brackets alone."""
_PAIR: Final = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_UNSTORABLE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
"""What may be one: also where the backslash is itself escaped, and where it begins a whole pair."""
_ESCAPE: Final = re.compile(rb"\\(?:" + _PAIR + rb"|(?P<unfit>u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2}))|.)", re.DOTALL)


def _storable_escape(found: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if found["unfit"] else found.group()

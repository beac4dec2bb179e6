"""Opaque tokens that say where a walk goes on, and refuse to go on with another walk."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Final, TypeVar

from services.errors import InvalidRequest

TOKEN_CHARACTERS_MAX: Final = 1_024
"""More than any token of ours has."""
_MARK_BYTES: Final = 12
"""Enough that no token fits another walk by chance."""

Position = TypeVar("Position")


def token_for(position: str, *, walk: str) -> str:
    """Return the token for the page after `position`; `walk` is everything that must be the same on the next page."""
    return base64.urlsafe_b64encode(_mark(position, walk) + position.encode()).decode().rstrip("=")


def position_in(
    token: str,
    *,
    walk: str,
    parse: Callable[[str], Position],
    invalid: type[InvalidRequest],
    field: str = "page_token",
) -> Position:
    """Return what `parse` makes of the position that `token_for` was given; raise `invalid` for other tokens.

    `parse` raises ValueError for what cannot be a position: a token can be forged, though nothing is gained by it.
    """
    try:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise ValueError("longer than any of ours")
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        mark, position = raw[:_MARK_BYTES], raw[_MARK_BYTES:].decode()
        if mark == _mark(position, walk):
            return parse(position)
    except (ValueError, RecursionError):
        pass
    raise invalid(field=field)


def _mark(position: str, walk: str) -> bytes:
    return hashlib.sha256(f"{len(walk)}:{walk}{position}".encode()).digest()[:_MARK_BYTES]

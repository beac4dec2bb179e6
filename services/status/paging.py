"""Opaque tokens that say where a walk goes on, and refuse to go on with another walk."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from services.status.domain import PageTokenInvalid

_MARK_BYTES: Final = 12
"""Enough that no token fits another walk by chance; a forged one only ever shows what its maker may see anyway."""


def token_for(position: str, *, walk: str) -> str:
    """Return the token for the page after `position`; `walk` is everything that must be the same on the next page."""
    return base64.urlsafe_b64encode(_mark(position, walk) + position.encode()).decode().rstrip("=")


def position_in(token: str, *, walk: str) -> str:
    """Return the position that `token_for` was given; raise PageTokenInvalid for any other token."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        mark, position = raw[:_MARK_BYTES], raw[_MARK_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise PageTokenInvalid(field="page_token") from None
    if mark != _mark(position, walk):
        raise PageTokenInvalid(field="page_token")
    return position


def _mark(position: str, walk: str) -> bytes:
    return hashlib.sha256(f"{len(walk)}:{walk}{position}".encode()).digest()[:_MARK_BYTES]

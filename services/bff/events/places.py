"""How far a browser has seen several payments, as the opaque id of their events. Pure."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping


def cursor_of(revisions: Mapping[str, int]) -> str:
    """Return the last revisions that were seen, by payment, as one word."""
    text = ",".join(f"{payment_id}:{revision}" for payment_id, revision in revisions.items())
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def revisions_of(cursor: str) -> Mapping[str, int]:
    """Return what a cursor says; nothing for one that is none of ours."""
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        pairs = [part.split(":") for part in text.split(",")]
        return {payment_id: int(revision) for payment_id, revision in pairs if len(revision) < 19}
    except (binascii.Error, ValueError):
        return {}

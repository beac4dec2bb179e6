"""The id of a request, made before its first try; apart from the client, which takes long to import."""

from __future__ import annotations

import secrets
import time
import uuid


def new_request_id() -> str:
    """Return a new `request_id`. Keep it with what you ask for: the same id makes a repeat harmless.

    It is a UUID of version 7: ids made one after another stand together in an index, as do the payments made of them.
    """
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | secrets.randbits(80)
    return str(uuid.UUID(int=number & ~(0xF << 76) & ~(0b11 << 62) | 0x7 << 76 | 0b10 << 62))

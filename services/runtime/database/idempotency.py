"""What makes a request and its repeat one: the hash that tells their content.

A request that changes something has a `request_id`, made by its caller before the first try. Its first run keeps the
hash of what was asked beside the id, and later its answer, or the refusal (services/shared/refusals) if that stands for
good. A repeat is answered from there; the same id with other content is refused with `RequestIdReused`.
"""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message


def request_hash(request: Message, *excluded: str) -> bytes:
    """Return a hash of the fields that are set, but for the request id and those `excluded`, 32 bytes."""
    return content_hash(request, "request_id", *excluded)


def content_hash(message: Message, *excluded: str) -> bytes:
    """Return a hash of the fields that are set, but for those `excluded`, 32 bytes."""
    content = type(message)()
    content.CopyFrom(message)
    for name in excluded:
        content.ClearField(name)
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()

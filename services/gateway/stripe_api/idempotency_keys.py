"""Idempotency keys that are made of what was asked alone: whoever asks the same again has the same key. Pure.

A key that came of a row would be lost with the row's commit, as in a failover, while Stripe still knows it.
"""

from __future__ import annotations

import uuid
from typing import Final

_NAMESPACE: Final = uuid.UUID("5e1f0a7e-3b1c-4a57-9a54-6f2a0d9f8b61")


def idempotency_key(operation: str, *parts: str | int) -> str:
    """Return the key of an operation on something; none of `parts` may hold a space, as no id of ours does."""
    return f"{operation}:{uuid.uuid5(_NAMESPACE, ' '.join(map(str, parts)))}"

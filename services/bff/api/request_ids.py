"""The `request_id` of a call: made of who asks, what for and the caller's key, so that a repeat is the same request.

Pure. Where an old client sends no key, it is made of what is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from services.bff.callers import Asker
from services.web.failures import Refusal

HEADER: Final = "Idempotency-Key"
KEY_CHARACTERS_MAX: Final = 255
_KEY: Final = re.compile(r"[!-~]{1,255}")
_NAMESPACE: Final = uuid.UUID("5f2f7d6a-0f0e-5d51-9d0b-6f7a0b6f7c11")
"""Never changed: with another, a repeat that spans a deploy would be another request."""


def of_key(asker: Asker, operation: str, key: str) -> str:
    """Return the request id of a key of the caller's. Raises `Refusal` where there is none, or none that can be."""
    if not key:
        raise Refusal(400, "IDEMPOTENCY_KEY_REQUIRED", field=HEADER)
    if _KEY.fullmatch(key) is None:
        raise Refusal(
            400,
            "IDEMPOTENCY_KEY_INVALID",
            field=HEADER,
            explanation=f"must be 1 to {KEY_CHARACTERS_MAX} visible ASCII characters",
        )
    return _made_of(asker, operation, "key", key)


def of_content(asker: Asker, operation: str, *content: object) -> str:
    """Return the request id of what is asked for: the same content of the same caller is the same request."""
    return _made_of(asker, operation, "content", _canonical(content))


def _made_of(asker: Asker, *parts: str) -> str:
    # Parts are joined as JSON, in which no part can be taken for the end of another.
    return str(uuid.uuid5(_NAMESPACE, json.dumps([asker.owner, *parts])))


def _canonical(content: object) -> str:
    text = json.dumps(_plain(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return f"decimal:{value}"
    return value

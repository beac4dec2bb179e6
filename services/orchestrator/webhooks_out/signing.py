"""How a body is signed, as the Standard Webhooks convention says. Pure.

Signed is `"{webhook-id}.{webhook-timestamp}.{body}"`, with HMAC-SHA256. The id stays the same however often a body is
sent; the timestamp is of the try. While a secret is being replaced, each that counts has a signature of its own.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets as randomness
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 says that a secret follows
KEY_BYTES: Final = 32
"""Of a secret that is made here: as many as the digest has."""
KEY_BYTES_MIN: Final = 24
KEY_BYTES_MAX: Final = 64
"""What the convention allows."""

_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""A full stop would let two messages have one signature."""


class SecretMalformed(ValueError):
    """A secret is `whsec_` and the base64 of 24 to 64 bytes."""


def new_secret() -> str:
    """Return a secret that nobody had before."""
    return SECRET_PREFIX + base64.b64encode(randomness.token_bytes(KEY_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Return the key that a secret says. Raises `SecretMalformed`, which does not repeat it."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SecretMalformed(SecretMalformed.__doc__) from None
    if not secret.startswith(SECRET_PREFIX) or not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise SecretMalformed(SecretMalformed.__doc__)
    return key


def signed_headers(body: bytes, *, message_id: str, time: datetime, secrets: Sequence[str]) -> Mapping[str, str]:
    """Return the three headers of one try; `secrets` are those that count now, at least one."""
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("the id of a message has letters, digits, _ and - alone")
    if not secrets:
        raise ValueError("nothing is sent unsigned")
    timestamp = str(int(time.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key_of(secret), signed, "sha256")).decode() for secret in secrets]
    return {
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: " ".join(f"v1,{signature}" for signature in signatures),
    }

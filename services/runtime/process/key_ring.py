"""Keys from the settings under which secrets are kept: the first wraps, each unwraps, so that one replaces another.

What is wrapped is encrypted by AES-256-GCM. What it is about (tenant, owner) is authenticated with it, so that none can
be put in another's place.

    wrapped   1 byte version, 8 bytes which key wraps it, 12 bytes nonce, the secret, 16 bytes tag
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime.process.followed import Followed
from services.runtime.process.settings import Form

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""Random: 2^32 texts under one key before two of them are likely to share one, and a payer has some hundreds."""
WRAPPING_ID_BYTES: Final = 8
"""Of the digest of a wrapping key, by which it is told from the few others there are."""
_VERSION: Final = b"\x01"


class Unreadable(Exception):
    """It cannot be decrypted: its key is destroyed, or another, or it was tampered with."""


class KeyRing:
    """The wrapping keys of the settings: the first wraps, each unwraps."""

    def __init__(self, keys: Followed[tuple[bytes, ...]]) -> None:
        self._keys = keys
        self._known: tuple[bytes, ...] = ()
        self._by_id: dict[bytes, AESGCM] = {}

    @property
    def first_id(self) -> str:
        """Which key wraps: what stands with each wrapped key."""
        self._follow()
        return next(iter(self._by_id)).hex()

    def new_key(self) -> bytes:
        """Return a data key."""
        return AESGCM.generate_key(bit_length=KEY_BYTES * 8)

    def wrap(self, secret: bytes, *about: str) -> bytes:
        """Return a secret wrapped under the first key."""
        self._follow()
        key_id, aead = next(iter(self._by_id.items()))
        nonce = os.urandom(NONCE_BYTES)
        return _VERSION + key_id + nonce + aead.encrypt(nonce, secret, bound(about))

    def unwrap(self, wrapped: bytes, *about: str) -> bytes:
        """Return the secret; raise Unreadable where none of the wrapping keys opens it."""
        self._follow()
        begin = len(_VERSION) + WRAPPING_ID_BYTES
        aead = self._by_id.get(wrapped[len(_VERSION) : begin])
        if wrapped[:1] != _VERSION or aead is None:
            raise Unreadable
        nonce = wrapped[begin : begin + NONCE_BYTES]
        try:
            return aead.decrypt(nonce, wrapped[begin + NONCE_BYTES :], bound(about))
        except (InvalidTag, ValueError):
            raise Unreadable from None

    def _follow(self) -> None:
        keys = self._keys.current()
        if keys is not self._known:
            self._by_id = {hashlib.sha256(key).digest()[:WRAPPING_ID_BYTES]: AESGCM(key) for key in keys}
            self._known = keys


class WrappingKey(bytes):
    """A key that does not show itself when printed by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "WrappingKey('…')"


def _wrapping_key(value: str) -> WrappingKey:
    try:
        key = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not in base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"is not {KEY_BYTES} bytes in base64")
    return WrappingKey(key)


wrapping_key: Final[Form[bytes]] = Form(_wrapping_key, f"{KEY_BYTES} bytes in base64")


def bound(about: Sequence[str]) -> bytes:
    """Return what a secret is about, as it is authenticated."""
    return json.dumps(about).encode()  # one text has no part that another could have in two

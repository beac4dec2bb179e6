"""How personal data is encrypted: AES-256-GCM under data keys, which a key from the settings wraps.

A data key is made at random and derived from nothing: one that is destroyed cannot be made again. What a text is about
(tenant, holder of the key, field, row) is authenticated with it, so that none can be put in another's place.

    text   1 byte version, 4 bytes generation of the holder's key, 12 bytes nonce, text, 16 bytes tag
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.runtime.process.key_ring import NONCE_BYTES, Unreadable, bound

_VERSION: Final = b"\x01"
_GENERATION_BYTES: Final = 4


class DataKey:
    """One key of a holder."""

    def __init__(self, key: bytes, *, generation: int) -> None:
        self._aead = AESGCM(key)
        self.generation = generation

    def encrypt(self, text: bytes, *about: str) -> bytes:
        """Return the text encrypted, bound to what it is about."""
        nonce = os.urandom(NONCE_BYTES)
        generation = self.generation.to_bytes(_GENERATION_BYTES)
        return _VERSION + generation + nonce + self._aead.encrypt(nonce, text, bound(about))

    def decrypt(self, encrypted: bytes, *about: str) -> bytes:
        """Return the text; raise Unreadable for what was not encrypted by this key and about this."""
        begin = len(_VERSION) + _GENERATION_BYTES
        nonce = encrypted[begin : begin + NONCE_BYTES]
        try:
            return self._aead.decrypt(nonce, encrypted[begin + NONCE_BYTES :], bound(about))
        except (InvalidTag, ValueError):
            raise Unreadable from None


def generation_of(encrypted: bytes) -> int:
    """Return which of its holder's keys a text is encrypted under; raise Unreadable for what is no such text."""
    if encrypted[:1] != _VERSION or len(encrypted) <= len(_VERSION) + _GENERATION_BYTES + NONCE_BYTES:
        raise Unreadable
    return int.from_bytes(encrypted[1 : 1 + _GENERATION_BYTES])

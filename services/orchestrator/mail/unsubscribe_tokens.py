"""What a link in a mail carries, so that a kind of mail can be declined without signing in: who declines what, signed.

A token has no end: a mail from years ago must still lead out (RFC 8058). It can do nothing but decline.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.notifications.kinds import RecipientKind
from services.runtime.process.followed import Followed
from services.runtime.process.settings import Form, Secret

KEY_CHARACTERS_MIN: Final = 32
TOKEN_CHARACTERS_MAX: Final = 1_000
"""Ours have some 200."""


def _key(text: str) -> str:
    if len(text) < KEY_CHARACTERS_MIN:
        raise ValueError(f"has fewer than {KEY_CHARACTERS_MIN} characters")
    return Secret(text)


unsubscribe_key: Final = Form(_key, f"text of at least {KEY_CHARACTERS_MIN} characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Who wants no more mails of a kind."""

    tenant_id: str
    recipient_kind: RecipientKind
    recipient_id: str
    kind: FactKind


class UnsubscribeTokens:
    """Makes and reads them. The first of the keys signs, each is believed: so one replaces another."""

    def __init__(self, keys: Followed[tuple[str, ...]]) -> None:
        self._keys = keys

    def make(self, declined: Declined) -> str:
        """Return the token; the same for the same, as long as the key stays."""
        said = json.dumps(
            [declined.tenant_id, declined.recipient_kind, declined.recipient_id, declined.kind],
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        return f"{_text(said)}.{_text(_signature(said, self._keys.current()[0]))}"

    def read(self, token: str) -> Declined | None:
        """Return what a token says; None if it is none of ours."""
        said_text, _, signature_text = token.partition(".")
        try:
            said, signature = _bytes(said_text), _bytes(signature_text)
        except (ValueError, binascii.Error):
            return None
        known = [key for keys in self._keys.candidates() for key in keys]
        if len(token) > TOKEN_CHARACTERS_MAX or not any(
            hmac.compare_digest(signature, _signature(said, key)) for key in known
        ):
            return None
        tenant_id, recipient_kind, recipient_id, kind = json.loads(said)
        return Declined(
            tenant_id=tenant_id,
            recipient_kind=RecipientKind(recipient_kind),
            recipient_id=recipient_id,
            kind=FactKind(kind),
        )


def _signature(said: bytes, key: str) -> bytes:
    return hmac.new(key.encode(), b"batzen unsubscribe v1\0" + said, hashlib.sha256).digest()


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)

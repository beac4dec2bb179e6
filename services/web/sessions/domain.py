"""What a session is and how long it lives. Pure."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

ID_BYTES: Final = 32
"""Of an id; its text has 43 characters."""
FORM_KEY_BYTES: Final = 32
ROTATION_OVERLAP: Final = timedelta(seconds=10)
"""How long the id before still opens the session: for requests that were on their way as it changed."""
PER_PERSON_MAX: Final = 20
"""Sessions that one person has at a time: browsers and devices, and tabs that were opened anew."""
SEEN_EVERY: Final = timedelta(minutes=1)
"""How often it is noted at most that a session is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a session of one front lives."""

    idle: timedelta
    absolute: timedelta


PAYER: Final = Limits(idle=timedelta(minutes=30), absolute=timedelta(hours=12))
OPERATOR: Final = Limits(idle=timedelta(minutes=30), absolute=timedelta(hours=8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A browser that proved who it is."""

    key: bytes
    """SHA-256 of the id in its cookie; the id itself is nowhere kept."""
    form_key: bytes
    """Signs what its forms carry; stays when the id changes, so that a page that is open can still be sent."""
    tenant_id: str
    subject: str
    role: str
    payment_id: str | None
    """The payment that the payer was handed over for; pages of others are reached by what the services allow."""
    locale: str
    auth_time: datetime
    """When they proved who they are."""
    create_time: datetime
    seen_time: datetime
    expire_time: datetime

    def is_over(self, *, now: datetime, limits: Limits) -> bool:
        """Tell whether it has ended by age or idleness."""
        return now >= self.expire_time or now >= self.seen_time + limits.idle


def new_form_key() -> bytes:
    """Return a new key for the forms of a session."""
    return secrets.token_bytes(FORM_KEY_BYTES)


def new_id() -> str:
    """Return a new id for a cookie."""
    return secrets.token_urlsafe(ID_BYTES)


def key_of(session_id: str) -> bytes:
    """Return what is kept of an id."""
    return hashlib.sha256(session_id.encode()).digest()

"""What the keys of personal data are encrypted with, on one machine."""

from __future__ import annotations

import base64
import secrets

from services.runtime.process.key_ring import KEY_BYTES


def new_personal_key() -> str:
    """Return one as BATZEN_PERSONAL_KEY takes it."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()

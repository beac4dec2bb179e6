"""The secrets that sign, as they are kept: wrapped under a key from the settings, each bound to its subscription."""

from __future__ import annotations

import uuid

from services.orchestrator.domain.errors import WebhooksNotConfigured
from services.runtime.process.key_ring import KeyRing, Unreadable


class SecretBox:
    """Wraps and opens them. Without a key it does neither."""

    def __init__(self, ring: KeyRing | None) -> None:
        self._ring = ring

    @property
    def key_id(self) -> str:
        """Which key wraps. Raises `WebhooksNotConfigured`."""
        return self._opened().first_id

    def wrap(self, secret: str, tenant_id: str, subscription_id: str, secret_id: uuid.UUID) -> bytes:
        """Return a secret wrapped. Raises `WebhooksNotConfigured`."""
        return self._opened().wrap(secret.encode(), tenant_id, subscription_id, str(secret_id))

    def open(self, wrapped: bytes, tenant_id: str, subscription_id: str, secret_id: uuid.UUID) -> str:
        """Return a secret. Raises `WebhooksNotConfigured` where no key opens it."""
        try:
            return self._opened().unwrap(wrapped, tenant_id, subscription_id, str(secret_id)).decode()
        except Unreadable:
            raise WebhooksNotConfigured(detail="No key there opens this secret.") from None

    def _opened(self) -> KeyRing:
        if self._ring is None:
            raise WebhooksNotConfigured
        return self._ring

"""What is known of a person until Stripe has it, under the payer's key."""

from __future__ import annotations

import json

from services.gateway.personal.keys import PersonalKeys, holder_of
from services.runtime.process.key_ring import Unreadable
from services.shared.codec import Json

FIELD = "customers.details"
"""What a text is bound to, beside its payer."""


class SealedDetails:
    """Encrypts and decrypts the details of persons."""

    def __init__(self, keys: PersonalKeys) -> None:
        self._keys = keys

    async def sealed(self, tenant_id: str, payer_id: str, details: Json) -> bytes:
        """Return details encrypted under the payer's key, which is made if there is none."""
        holder = holder_of(payer_id)
        key = self._keys.known(tenant_id, holder) or await self._keys.of(tenant_id, holder)
        return key.encrypt(json.dumps(details).encode(), tenant_id, holder, FIELD)

    async def opened(self, tenant_id: str, payer_id: str, encrypted: bytes | None) -> Json | None:
        """Return what is there; None where nothing is, or nobody can read it any more."""
        if encrypted is None:
            return None
        try:
            opened: Json = json.loads(await self._keys.decrypt(tenant_id, holder_of(payer_id), encrypted, FIELD))
        except Unreadable:
            return None
        return opened

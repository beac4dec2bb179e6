"""What is known of a person, under their key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from services.gateway.personal.keys import PersonalKeys, holder_of
from services.runtime.process.key_ring import Unreadable
from services.shared.codec import Json

OF_CUSTOMERS: Final = "customers.details"
OF_SELLERS: Final = "seller_accounts.contact"
"""What a text is bound to, beside its person."""


class SealedDetails:
    """Encrypts and decrypts the details of persons: of payers, unless it is said whose key it is."""

    def __init__(
        self, keys: PersonalKeys, *, holder_of: Callable[[str], str] = holder_of, field: str = OF_CUSTOMERS
    ) -> None:
        self._keys = keys
        self._holder_of = holder_of
        self._field = field

    async def sealed(self, tenant_id: str, person_id: str, details: Json) -> bytes:
        """Return details encrypted under the person's key, which is made if there is none."""
        holder = self._holder_of(person_id)
        key = self._keys.known(tenant_id, holder) or await self._keys.of(tenant_id, holder)
        return key.encrypt(json.dumps(details).encode(), tenant_id, holder, self._field)

    async def opened(self, tenant_id: str, person_id: str, encrypted: bytes | None) -> Json | None:
        """Return what is there; None where nothing is, or nobody can read it any more."""
        if encrypted is None:
            return None
        try:
            opened: Json = json.loads(
                await self._keys.decrypt(tenant_id, self._holder_of(person_id), encrypted, self._field)
            )
        except Unreadable:
            return None
        return opened

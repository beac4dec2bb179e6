"""How many declines are too many: somebody tries out cards. Pure.

What is counted is kept as a hash, for as long as it counts: a payer, an address or a card cannot be read from it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

WINDOW: Final = timedelta(minutes=60)
"""How long a decline counts."""
DECLINES_MAX: Final = 10
"""Of one payer, one address or one card within the window; then none of them submits until enough have aged."""
FORM_DECLINES_MAX: Final = 5
"""Of one payment in a form; then its payer goes on at the hosted page, where Stripe guards against robots."""
IPV6_PREFIX: Final = 64
"""Of an IPv6 address: what one household or one server has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trier:
    """Who tries to pay."""

    tenant_id: str
    payer_id: str
    address: str
    """Where from; empty where nobody said."""

    @property
    def counted(self) -> list[bytes]:
        """What of them is counted."""
        payer = counted_as(self.tenant_id, "payer", self.payer_id)
        return [payer, counted_as(self.tenant_id, "address", self.address)] if self.address else [payer]


def counted_as(tenant_id: str, kind: str, value: str) -> bytes:
    """Return under what somebody or something is counted."""
    return hashlib.sha256("\0".join(("declines", tenant_id, kind, value)).encode()).digest()


def network_of(address: str) -> str:
    """Return what of an address counts as one; empty for what is none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found.packed, IPV6_PREFIX), strict=False))
    return str(found)

"""Where a request comes from, as limits count it. Pure.

uvicorn has already put the client in the place of our proxies, and of no other ones (`BATZEN_TRUSTED_PROXIES`).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Final

from starlette.types import Scope

IPV6_PREFIX: Final = 64
"""What one household or company has: its single addresses cost it nothing."""
UNKNOWN: Final = "unknown"


def client_ip(scope: Scope) -> str:
    """Return the address of the browser; "unknown" where what a proxy says is none."""
    client = scope.get("client")
    try:
        address = ip_address(client[0] if client else "")
    except ValueError:
        return UNKNOWN
    mapped = None if isinstance(address, IPv4Address) else address.ipv4_mapped
    return str(mapped or address)


def address_block(scope: Scope) -> str:
    """Return what is counted as one: an IPv4 address, or the /64 of an IPv6 address."""
    text = client_ip(scope)
    if ":" not in text:
        return text
    return str(IPv6Network((text, IPV6_PREFIX), strict=False))

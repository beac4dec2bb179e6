"""Which tenant's calls go to Stripe."""

from __future__ import annotations

from services.gateway.errors import TenantNotServed
from services.runtime.rpc import call_context


def served_tenant(tenant_id: str) -> str:
    """Return the caller's tenant if it is `tenant_id`, whose key this process has: Stripe is called for no other."""
    if call_context.current_tenant() != tenant_id:
        raise TenantNotServed
    return tenant_id

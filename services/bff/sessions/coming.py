"""Where a browser that brings a code comes from: whoever has a code can make any browser bring it. Pure."""

from __future__ import annotations

from typing import Final

from services.bff.tenants import Tenant, origin_of

OWN_SITES: Final = frozenset({"none", "same-origin", "same-site"})
"""`Sec-Fetch-Site` of what a person typed or opened from outside the web, and of what hosts of our own domain sent."""


def is_sent_by_others(tenant: Tenant, *, fetch_site: str | None, referer: str | None, own_origin: str) -> bool:
    """Tell whether another site than the tenant's may have sent the browser, so that the payer has to be asked.

    A browser that does not say where it comes from, or whose `Referer` is held back, may come from anywhere.
    """
    if fetch_site in OWN_SITES:
        return False
    return origin_of(referer or "") not in tenant.origins | {origin_of(own_origin)}

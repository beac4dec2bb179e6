"""Links to the onboarding of connected accounts, which work once and for minutes. Their page is onboarding.py.

How long a link works, and that opening it uses it up, is what Stripe's documents say (U).
"""

from typing import Any
from urllib.parse import urlsplit

from sandbox import accounts
from sandbox.errors import ApiError, not_modelled
from sandbox.world import Object, World

_LINK_S = 300


def create(world: World, params: dict[str, Any]) -> Object:
    """Make a link to the onboarding of an account; what it leads to is kept under its token."""
    account = accounts.retrieve(world, {}, params["account"])
    if params["type"] != "account_onboarding":
        raise not_modelled(f"account links of type {params['type']}")
    for name in ("return_url", "refresh_url"):
        if not params.get(name):
            raise ApiError(f"Missing required param: {name}.", code="parameter_missing", param=name)
        if urlsplit(params[name]).scheme not in ("http", "https"):
            raise ApiError("Not a valid URL", code="url_invalid", param=name)
    token = world.token(24)
    expires_at = world.clock.seconds() + _LINK_S
    world.account_links[token] = {
        "account": account["id"],
        "expires_at": expires_at,
        "return_url": params["return_url"],
        "refresh_url": params["refresh_url"],
        "is_used": False,
    }
    return {
        "object": "account_link",
        "created": world.clock.seconds(),
        "expires_at": expires_at,
        "url": f"{world.base_url()}/setup/{account['id']}/{token}",
    }

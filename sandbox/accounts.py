"""The platform's own account, and connected ones: the sellers of a marketplace, who are ready at once."""

from typing import Any

from sandbox.answers import page
from sandbox.customers import check_email
from sandbox.errors import ApiError
from sandbox.world import Object, World, merge_metadata

_CURRENCY_OF = {"US": "usd", "GB": "gbp", "CH": "chf", "LI": "chf", "CA": "cad", "AU": "aud", "JP": "jpy"}


def create(world: World, params: dict[str, Any]) -> Object:
    if "type" in params and "controller" in params:
        raise ApiError("You may only specify one of these parameters: type, controller.", param="type")
    check_email(params.get("email"))
    return world.add(_account(world, f"acct_1{world.token(15)}", params))


def retrieve_own(world: World, _params: dict[str, Any]) -> Object:
    """Return the account that the key is of; nobody has to make it."""
    own = _account(world, world.account_id, {"type": "standard"})
    own["controller"] = {"type": "account"}
    return own


def retrieve(world: World, _params: dict[str, Any], account_id: str) -> Object:
    found = world.find(account_id)
    if found is None or found["object"] != "account":
        # Stripe does not tell whether the account exists: the key may not see it either way.
        raise ApiError(
            f"The provided key does not have access to account '{account_id}' (or that account does not exist). "
            "Application access may have been revoked.",
            status=403,
            code="account_invalid",
        )
    return found


def update(world: World, params: dict[str, Any], account_id: str) -> Object:
    account = retrieve(world, {}, account_id)
    check_email(params.get("email"))
    changes: Object = {name: params[name] or None for name in ("email", "business_type") if name in params}
    if "business_profile" in params:
        changes["business_profile"] = account["business_profile"] | params["business_profile"]
    if "metadata" in params:
        changes["metadata"] = merge_metadata(account["metadata"], params["metadata"])
    _change(world, account, changes)
    return account


def list_all(world: World, params: dict[str, Any]) -> Object:
    return page(world.all("account"), params, url="/v1/accounts")


def enable(world: World, account_id: str, *, enabled: bool) -> Object:
    """Let an account take payments, or stop it as Stripe does when requirements are past due."""
    account = world.get("account", account_id)
    changes: Object = {
        "capabilities": dict.fromkeys(account["capabilities"], "active" if enabled else "inactive"),
        "charges_enabled": enabled,
        "payouts_enabled": enabled,
        "requirements": _requirements(disabled_reason=None if enabled else "requirements.past_due"),
    }
    _change(world, account, changes)
    return account


def set_capability(world: World, account_id: str, *, name: str, active: bool) -> Object:
    """Switch one capability of an account on or off; what else it may do stays."""
    account = world.get("account", account_id)
    _change(world, account, {"capabilities": account["capabilities"] | {name: "active" if active else "inactive"}})
    return account


def disconnect(world: World, account_id: str) -> Object:
    """Take an account away, as when its seller takes back the platform's access; no event says so."""
    account = world.get("account", account_id)
    world.remove(account, entirely=True)
    return account


def check_destination(world: World, account_id: str) -> None:
    """Refuse a destination that does not exist or cannot receive transfers."""
    account = world.find(account_id)
    if account is None or account["object"] != "account":
        raise ApiError(
            f"No such destination: '{account_id}'", code="resource_missing", param="transfer_data[destination]"
        )
    if account["capabilities"].get("transfers") != "active":
        raise ApiError(
            "Your destination account needs to have at least one of the following capabilities enabled: transfers, "
            "crypto_transfers, legacy_payments",
            code="insufficient_capabilities_for_transfer",
            param="transfer_data[destination]",
        )


def _account(world: World, account_id: str, params: dict[str, Any]) -> Object:
    requested = [name for name, value in params.get("capabilities", {}).items() if value.get("requested")]
    country = params.get("country", "US").upper()
    return {
        "id": account_id,
        "object": "account",
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": None,
            "minority_owned_business_designation": None,
            "name": None,
            "product_description": None,
            "support_address": None,
            "support_email": None,
            "support_phone": None,
            "support_url": None,
            "url": None,
            **params.get("business_profile", {}),
        },
        "business_type": params.get("business_type"),
        "capabilities": dict.fromkeys(requested or ["card_payments", "transfers"], "active"),
        "charges_enabled": True,
        "controller": _controller(params),
        "country": country,
        "created": world.clock.seconds(),
        "default_currency": params.get("default_currency", _CURRENCY_OF.get(country, "eur")),
        "details_submitted": True,
        "email": params.get("email"),
        "external_accounts": {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/accounts/{account_id}/external_accounts",
        },
        "future_requirements": _requirements(disabled_reason=None),
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "payouts_enabled": True,
        "requirements": _requirements(disabled_reason=None),
        "settings": _settings(),
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
        "type": params.get("type", "none"),
    }


def _change(world: World, account: Object, changes: Object) -> None:
    previous = {name: account[name] for name, value in changes.items() if account[name] != value}
    account.update(changes)
    if previous:
        world.emit("account.updated", account, previous=previous)


def _controller(params: dict[str, Any]) -> Object:
    asked = params.get("controller", {})
    return {
        "fees": {"payer": asked.get("fees", {}).get("payer", "account")},
        "is_controller": True,
        "losses": {"payments": asked.get("losses", {}).get("payments", "stripe")},
        "requirement_collection": asked.get("requirement_collection", "stripe"),
        "stripe_dashboard": {"type": asked.get("stripe_dashboard", {}).get("type", "full")},
        "type": "application",
    }


def _requirements(*, disabled_reason: str | None) -> Object:
    due = ["individual.verification.document"] if disabled_reason else []
    return {
        "alternatives": [],
        "current_deadline": None,
        "currently_due": due,
        "disabled_reason": disabled_reason,
        "errors": [],
        "eventually_due": due,
        "past_due": due,
        "pending_verification": [],
    }


def _settings() -> Object:
    return {
        "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
        "card_payments": {
            "decline_on": {"avs_failure": False, "cvc_failure": False},
            "statement_descriptor_prefix": None,
            "statement_descriptor_prefix_kana": None,
            "statement_descriptor_prefix_kanji": None,
        },
        "dashboard": {"display_name": None, "timezone": "Etc/UTC"},
        "payments": {
            "statement_descriptor": None,
            "statement_descriptor_kana": None,
            "statement_descriptor_kanji": None,
        },
        "payouts": {
            "debit_negative_balances": True,
            "schedule": {"delay_days": 2, "interval": "daily"},
            "statement_descriptor": None,
        },
    }

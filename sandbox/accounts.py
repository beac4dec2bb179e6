"""The platform's own account, and connected ones: the sellers of a marketplace, who are ready at once.

What is wanted of a seller is a control (`require`); the page of an onboarding link answers it (`satisfy`).
"""

from typing import Any

from sandbox import descriptors
from sandbox.answers import page
from sandbox.customers import check_email
from sandbox.errors import ApiError
from sandbox.world import Object, World, merge_metadata

_DEADLINE = "requirements"
_OF_CAPABILITY = (
    "alternatives",
    "current_deadline",
    "currently_due",
    "disabled_reason",
    "errors",
    "eventually_due",
    "past_due",
    "pending_verification",
)
_CURRENCY_OF = {"US": "usd", "GB": "gbp", "CH": "chf", "LI": "chf", "CA": "cad", "AU": "aud", "JP": "jpy"}


def create(world: World, params: dict[str, Any]) -> Object:
    if "type" in params and "controller" in params:
        raise ApiError("You may only specify one of these parameters: type, controller.", param="type")
    check_email(params.get("email"))
    account = world.add(_account(world, f"acct_1{world.token(15)}", params))
    world.connect_account(account["id"])
    return account


def retrieve_own(world: World, _params: dict[str, Any]) -> Object:
    """Return the account that the key is of; nobody has to make it."""
    own = _account(world, world.account_id, {"type": "standard"})
    own["controller"] = {"type": "account"}
    own["settings"]["card_payments"]["statement_descriptor_prefix"] = descriptors.PREFIX
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
        "requirements": _requirements()
        if enabled
        else _requirements(due=["individual.verification.document"], disabled_reason="requirements.past_due"),
    }
    _change(world, account, changes)
    return account


def require(
    world: World,
    account_id: str,
    *,
    fields: list[str],
    deadline_s: float | None = None,
    pending: list[str] | None = None,
    errors: list[Object] | None = None,
) -> Object:
    """Want something of a seller: until a deadline, after which the account is stopped, or at once."""
    account = world.get("account", account_id)
    if deadline_s is None:
        _stop(world, account, fields, pending=pending, errors=errors)
        return account
    wanted = _requirements(due=fields, pending=pending, errors=errors)
    wanted["current_deadline"] = world.clock.seconds() + int(deadline_s)
    _change(world, account, {"requirements": wanted})
    take_up(world, account)
    return account


def satisfy(world: World, account_id: str) -> Object:
    """Take all that is wanted of a seller as answered, and well: the account is ready."""
    account = enable(world, account_id, enabled=True)
    _change(world, account, {"details_submitted": True})
    return account


def take_up(world: World, account: Object) -> None:
    """Stop an account when its deadline has come and it still lacks what is wanted."""
    deadline = account["requirements"]["current_deadline"]
    if deadline is None:
        return

    def miss() -> None:
        if account["requirements"]["current_deadline"] == deadline:
            _stop(world, account, account["requirements"]["currently_due"])

    world.later(deadline - world.clock.now(), miss, label=_DEADLINE)


def _stop(world: World, account: Object, fields: list[str], **more: Any) -> None:
    changes: Object = {
        "capabilities": dict.fromkeys(account["capabilities"], "inactive"),
        "charges_enabled": False,
        "payouts_enabled": False,
        "requirements": _requirements(due=fields, disabled_reason="requirements.past_due", **more),
    }
    _change(world, account, changes)


def set_capability(world: World, account_id: str, *, name: str, active: bool) -> Object:
    """Switch one capability of an account on or off; what else it may do stays."""
    account = world.get("account", account_id)
    _change(world, account, {"capabilities": account["capabilities"] | {name: "active" if active else "inactive"}})
    return account


def disconnect(world: World, account_id: str) -> Object:
    """Take an account away, as when its seller takes back the platform's access."""
    account = world.get("account", account_id)
    world.remove(account, entirely=True)
    application = {"id": f"ca_{world.token(24)}", "object": "application", "name": "The platform"}
    world.connected[account_id].emit("account.application.deauthorized", application)
    return account


def check_destination(world: World, account_id: str, *, param: str = "transfer_data[destination]") -> None:
    """Refuse a destination that does not exist or cannot receive transfers."""
    account = world.find(account_id)
    if account is None or account["object"] != "account":
        raise ApiError(f"No such destination: '{account_id}'", code="resource_missing", param=param)
    if account["capabilities"].get("transfers") != "active":
        raise ApiError(
            "Your destination account needs to have at least one of the following capabilities enabled: transfers, "
            "crypto_transfers, legacy_payments",
            code="insufficient_capabilities_for_transfer",
            param=param,
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
        "future_requirements": _requirements(),
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "payouts_enabled": True,
        "requirements": _requirements(),
        "settings": _settings(),
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
        "type": params.get("type", "none"),
    }


def _change(world: World, account: Object, changes: Object) -> None:
    previous = {name: account[name] for name, value in changes.items() if account[name] != value}
    account.update(changes)
    if not previous:
        return
    own = world.connected[account["id"]]
    before = previous.get("capabilities", {})
    for name, status in account["capabilities"].items():
        if before and before.get(name) != status:
            own.emit("capability.updated", _capability(account, name), previous={"status": before.get(name)})
    own.emit("account.updated", account, previous=previous)


def _capability(account: Object, name: str) -> Object:
    kept = {key: account["requirements"][key] for key in _OF_CAPABILITY}
    return {
        "id": name,
        "object": "capability",
        "account": account["id"],
        "future_requirements": {key: account["future_requirements"][key] for key in _OF_CAPABILITY},
        "requested": True,
        "requested_at": account["created"],
        "requirements": kept,
        "status": account["capabilities"][name],
    }


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


def _requirements(
    *,
    due: list[str] | None = None,
    disabled_reason: str | None = None,
    pending: list[str] | None = None,
    errors: list[Object] | None = None,
) -> Object:
    return {
        "alternatives": [],
        "current_deadline": None,
        "currently_due": due or [],
        "disabled_reason": disabled_reason,
        "errors": errors or [],
        "eventually_due": due or [],
        "past_due": (due or []) if disabled_reason else [],
        "pending_verification": pending or [],
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

"""Reads what has to be known of an account, in one try each, and says how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import stripe

from local.environments import Stripe, StripeKeyRefused
from local.stripe import findings
from local.stripe.findings import Finding, Object, State
from services.gateway.errors import StripeUnavailable
from services.gateway.stripe_api.http_client import StripeHttp
from services.gateway.stripe_api.own_account import KeyNotTaken, own_account, why_away

TRY_TIMEOUT_S: Final = 8.0
LIST_MAX: Final = 100
RESTRICTED: Final = "rk_"
ACCOUNTS: Final = "/v1/accounts"
EVENTS: Final = "/v1/events"
READ: Final[Mapping[str, str]] = {
    "application fees": "/v1/application_fees",
    "balance transactions": "/v1/balance_transactions",
    "charges": "/v1/charges",
    "checkout sessions": "/v1/checkout/sessions",
    "customers": "/v1/customers",
    "disputes": "/v1/disputes",
    "early fraud warnings": "/v1/radar/early_fraud_warnings",
    "payment intents": "/v1/payment_intents",
    "payment methods": "/v1/payment_methods",
    "payouts": "/v1/payouts",
    "refunds": "/v1/refunds",
    "reviews": "/v1/reviews",
    "setup intents": "/v1/setup_intents",
    "transfers": "/v1/transfers",
}
"""What the gateway reads, beside accounts and events."""
READ_OF_SELLERS: Final[Mapping[str, str]] = {"payouts of connected accounts": "/v1/payouts"}
"""What it reads of a connected account's own, beside events: a restricted key has permissions of their own for it."""
NO_KEY: Final = Finding(
    state=State.MISSING,
    about="STRIPE_API_KEY",
    what="is not set, so the stand-in is used",
    do="take a key from Stripe's dashboard, of a sandbox or of test mode: sk_test_…",
)


async def walk(environ: Mapping[str, str]) -> list[Finding]:
    """Return how each thing stands, in the order in which one sets them up."""
    if not environ.get("STRIPE_API_KEY", "").strip():
        return [NO_KEY]
    try:
        at = Stripe.from_environ(environ)
    except StripeKeyRefused as refusal:
        return [Finding(state=State.MISSING, about="STRIPE_API_KEY", what=str(refusal))]
    http = StripeHttp(base=at.api_base or stripe.DEFAULT_API_BASE, try_timeout_s=TRY_TIMEOUT_S)
    client = stripe.StripeClient(
        at.api_key,
        http_client=http,
        max_network_retries=0,
        base_addresses={"api": at.api_base} if at.api_base else {},
    )
    try:
        return await _walk(_Account(client), at)
    except KeyNotTaken as refusal:
        return [Finding(state=State.MISSING, about="key", what=str(refusal))]
    except StripeUnavailable as error:
        where = at.api_base or stripe.DEFAULT_API_BASE
        return [Finding(state=State.MISSING, about="Stripe", what=f"cannot be asked at {where}: {why_away(error)}")]
    finally:
        await http.close_async()


async def _walk(account: _Account, at: Stripe) -> list[Finding]:
    found = [*findings.of_account(await account.own())]
    secrets, connect_secrets = _each(at.webhook_secrets), _each(at.connect_webhook_secrets)
    is_polled = bool(at.polled_every_s)
    listed = await account.listed(EVENTS, limit=1)
    if account.stripe_time is not None:
        found.append(findings.of_clock(datetime.now(UTC) - account.stripe_time))
    sellers = await account.listed(ACCOUNTS, limit=LIST_MAX)
    seller_id = str(sellers[0]["id"]) if sellers else ""
    if at.api_key.startswith(RESTRICTED):
        found.append(findings.of_permissions(await _denied(account, seller_id)))
    found.append(findings.of_permissions(["connected accounts"]) if sellers is None else findings.of_sellers(sellers))
    found += findings.of_secrets(secrets, connect_secrets, api_key=at.api_key)
    found += findings.of_events(
        is_polled=at.polled_every_s,
        is_listed=listed is not None,
        is_sellers_listed=not is_polled or not seller_id or await account.may_list(EVENTS, of=seller_id),
        has_secret=bool(secrets),
        has_connect_secret=bool(connect_secrets),
    )
    endpoints = await account.listed("/v1/webhook_endpoints", limit=LIST_MAX)
    if endpoints is None:
        what = "cannot be looked at by this key, which needs no permission for them"
        found.append(Finding(state=State.NOTE, about="endpoints", what=what))
    else:
        found += findings.of_endpoints(endpoints, api_version=str(stripe.api_version), is_polled=is_polled)
    return found


async def _denied(account: _Account, seller_id: str) -> list[str]:
    """Return what the key may not read, of the platform and of one connected account, if there is any."""
    denied = [what for what, path in READ.items() if not await account.may_list(path)]
    if seller_id:
        denied += [what for what, path in READ_OF_SELLERS.items() if not await account.may_list(path, of=seller_id)]
    return denied


class _Account:
    """One account at Stripe, by its key."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client
        self.stripe_time: datetime | None = None
        """By Stripe's clock, when it answered last."""

    async def own(self) -> Object:
        """Read the account itself. Raises KeyNotTaken or StripeUnavailable."""
        return await own_account(self._client, seconds=TRY_TIMEOUT_S)

    async def may_list(self, path: str, *, of: str = "") -> bool:
        """Whether the key may read a list. Raises StripeUnavailable."""
        return await self.listed(path, limit=1, of=of) is not None

    async def listed(self, path: str, *, limit: int, of: str = "") -> Sequence[Object] | None:
        """Return the newest of a list, the platform's or a connected account's; None where the key may not read it.

        Raises StripeUnavailable.
        """
        whose = {"stripe_account": of} if of else {}
        try:
            answer: Any = await self._client.raw_request_async("get", path, limit=limit, **whose)
        except stripe.PermissionError:
            return None
        except stripe.StripeError as error:
            raise StripeUnavailable from error
        said = {name.lower(): value for name, value in dict(answer.headers).items()}.get("date")
        self.stripe_time = parsedate_to_datetime(said) if said else self.stripe_time
        rows: list[Object] = answer.data["data"]
        return rows


def _each(listed: str) -> list[str]:
    return [one.strip() for one in listed.split(",") if one.strip()]

"""Stripe itself: one client, one retry layer, and answers told apart by what may be concluded from them.

A call ends in one of four ways: an answer; a decline, which is an answer too; a refusal that would be the same again;
or nothing that can be relied upon (`Unanswered`), from which nothing is concluded. Stripe's own retries are off.
Amounts are converted here: everything behind holds ISO minor units.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import httpx
import stripe

from services.gateway import stripe_ids
from services.gateway.currencies import from_stripe
from services.gateway.domain import (
    PROCESSING,
    UNRECOVERABLE,
    Facts,
    Method,
    PaymentError,
    StripeRateLimited,
    StripeRefused,
    StripeUnavailable,
)
from services.runtime import calls
from services.runtime.process import StartRefused

TRY_TIMEOUT_S: Final = 8.0
"""Of one try. Stripe answers a confirm in 1 to 3 s; the bank may take longer, and then we ask again by the same key."""
CALL_BUDGET_S: Final = 20.0
"""Of all tries of one call, when the caller has no deadline, as in a sweep."""
ANSWER_MARGIN_S: Final = 0.5
"""What is kept of a caller's time to record the outcome and to answer."""
TRIES_MAX: Final = 5
PAUSE_FIRST_S: Final = 0.1
PAUSE_MAX_S: Final = 2.0

PAGE_SIZE: Final = 100
"""As long as Stripe lets it be."""
PAGES_MAX: Final = 20
"""Of one list: twice as many refunds as a payment may have."""
CLOCKS_APART_MAX: Final = timedelta(hours=1)
"""How far Stripe's clock may be from ours when we ask for what is newer than something of ours."""

STATES: Final = {
    "requires_payment_method": "REQUIRES_PAYMENT_METHOD",
    "requires_confirmation": "REQUIRES_CONFIRMATION",
    "requires_action": "REQUIRES_ACTION",
    "processing": "PROCESSING",
    "requires_capture": "REQUIRES_CAPTURE",
    "canceled": "CANCELED",
    "succeeded": "SUCCEEDED",
}

Json = Mapping[str, Any]
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_logger = logging.getLogger(__name__)


class KeyNotTaken(StartRefused):
    """Stripe does not take the key, or does not let it read its own account."""


class Unanswered(Exception):
    """Whether the call had an effect is not known."""

    def __init__(self, *, is_replay: bool = False) -> None:
        super().__init__()
        self.is_replay = is_replay
        """Stripe replays a failure it stored: asking by the same key again will never say more."""


class NotExecuted(Exception):
    """The call certainly had no effect, and its key will never say more."""


class Overtaken(Exception):
    """The intent is in a state that no longer allows the call: the intent as it is now."""

    def __init__(self, intent: Json) -> None:
        super().__init__()
        self.intent = intent


class Declined(Exception):
    """The bank said no: the intent as it is now."""

    def __init__(self, intent: Json) -> None:
        super().__init__()
        self.intent = intent


class Provider:
    """Stripe's API, as far as we use it.

    Methods raise StripeRefused, Declined, Unanswered, StripeRateLimited or StripeUnavailable. `require` is called
    before each call but that of `own_account_id`, and raises while nothing may be sent.
    """

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str | None,
        try_timeout_s: float = TRY_TIMEOUT_S,
        require: Callable[[], None] = lambda: None,
    ) -> None:
        stripe.enable_telemetry = False  # or it writes an id into the user's configuration folder
        self._require = require
        self._try_timeout_s = try_timeout_s
        self._http = stripe.HTTPXClient(timeout=try_timeout_s)
        self._client = stripe.StripeClient(
            api_key,
            http_client=self._http,
            max_network_retries=0,
            base_addresses={"api": api_base} if api_base else {},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def own_account_id(self) -> str:
        """Read whose key this is, in one try. Raises KeyNotTaken for good, StripeUnavailable for now."""
        try:
            async with asyncio.timeout(self._try_timeout_s):
                return str((await self._client.raw_request_async("get", "/v1/account")).data["id"])
        except stripe.AuthenticationError as error:
            raise KeyNotTaken("Stripe does not take STRIPE_API_KEY: it is wrong, expired or revoked.") from error
        except stripe.PermissionError as error:
            raise KeyNotTaken("STRIPE_API_KEY may not read its own account; permit a restricted key that.") from error
        except (stripe.StripeError, TimeoutError, LookupError, TypeError) as error:
            raise StripeUnavailable from error

    async def create_customer(self, params: Json, *, key: str) -> Json:
        """Create a customer."""
        return await self._post("/v1/customers", params, key=key)

    async def create_account(self, params: Json, *, key: str) -> Json:
        """Create a seller's account."""
        return await self._post("/v1/accounts", params, key=key)

    async def retrieve_account(self, account_id: str) -> Json:
        """Read a seller's account."""
        return await self._get(f"/v1/accounts/{stripe_ids.in_path(account_id, stripe_ids.ACCOUNT)}")

    async def create_intent(self, params: Json, *, key: str) -> Json:
        """Create an intent."""
        return await self._post("/v1/payment_intents", params, key=key)

    async def confirm_intent(self, intent_id: str, params: Json, *, key: str) -> Json:
        """Confirm an intent."""
        return await self._post(f"{_intent_path(intent_id)}/confirm", params, key=key)

    async def cancel_intent(self, intent_id: str, params: Json, *, key: str) -> Json:
        """Cancel an intent."""
        return await self._post(f"{_intent_path(intent_id)}/cancel", params, key=key)

    async def retrieve_intent(self, intent_id: str) -> Json:
        """Read an intent with its latest charge and its method."""
        return await self._get(_intent_path(intent_id), expand=["latest_charge", "payment_method"])

    async def list_intents(self, customer_id: str, *, since: datetime) -> list[Json]:
        """Read a customer's intents since then. A list is up to date at once; a search is not, and is never asked."""
        begin = int((since - CLOCKS_APART_MAX).timestamp())
        return await self._all("/v1/payment_intents", customer=customer_id, created={"gte": begin})

    async def create_refund(self, params: Json, *, key: str) -> Json:
        """Create a refund."""
        return await self._post("/v1/refunds", params, key=key)

    async def list_refunds(self, intent_id: str) -> list[Json]:
        """Read the refunds of an intent, the newest first."""
        return await self._all("/v1/refunds", payment_intent=intent_id)

    async def list_disputes(self, charge_id: str) -> list[Json]:
        """Read the disputes and inquiries of a charge, the newest first."""
        return await self._all("/v1/disputes", charge=charge_id)

    async def _post(self, path: str, params: Json, *, key: str) -> Json:
        # The client's raw requests answer with plain values; its objects cost more than all the rest of a call.
        self._require()
        return await self._send(lambda: self._client.raw_request_async("post", path, **params, idempotency_key=key))

    async def _get(self, path: str, **params: Any) -> Json:
        self._require()
        return await self._send(lambda: self._client.raw_request_async("get", path, **params))

    async def _all(self, path: str, **params: Any) -> list[Json]:
        """Read every page of a list. One that goes on after `PAGES_MAX` says nothing about what is not in it."""
        found: list[Json] = []
        for _ in range(PAGES_MAX):
            page = await self._get(path, **params, limit=PAGE_SIZE)
            found += page["data"]
            if not page["has_more"]:
                return found
            params["starting_after"] = found[-1]["id"]
        _logger.error("%s goes on after %d pages", path, PAGES_MAX)
        raise Unanswered

    async def _send(self, send: Callable[[], Awaitable[Any]]) -> Json:
        """Send until there is something to rely on, or the time is up. Each try sends the same under the same key.

        Raises StripeRateLimited or StripeUnavailable when no try can have had an effect, Unanswered when one may have.
        """
        loop = asyncio.get_running_loop()
        remaining_s = calls.time_remaining()
        budget_s = CALL_BUDGET_S if remaining_s is None else min(CALL_BUDGET_S, remaining_s - ANSWER_MARGIN_S)
        until = loop.time() + budget_s
        limited, is_ambiguous = False, False
        for number in range(TRIES_MAX):
            left_s = until - loop.time()
            if left_s <= 0:
                break
            try:
                async with asyncio.timeout(min(self._try_timeout_s, left_s)):
                    answer: Json = (await send()).data
                    return answer
            except stripe.CardError as error:
                intent = _intent_in(error)
                if intent is None:
                    raise _refused(error) from error
                raise Declined(intent) from error
            except stripe.RateLimitError as error:
                limited = True  # the limiter runs before everything else: there was no effect
                failure: Exception = error
            except stripe.IdempotencyError as error:
                # Something else was sent under this key: a bug of ours, and no word on what became of it.
                _logger.error("Stripe has other parameters under this key: %s", error.user_message)
                raise Unanswered(is_replay=True) from error
            except (stripe.InvalidRequestError, stripe.PermissionError) as error:
                raise _refused(error) from error
            except stripe.AuthenticationError as error:
                _logger.error("Stripe does not take our key: %s", error.user_message)
                failure = error
                break
            except stripe.APIError as error:
                is_ambiguous = True
                failure = error
                _look_again_or_give_up(error)
            except (stripe.APIConnectionError, TimeoutError) as error:
                is_ambiguous = is_ambiguous or not isinstance(error.__cause__, _NEVER_SENT)
                failure = error
            _logger.warning("Stripe: try %d failed: %r", number + 1, failure)
            if number + 1 == TRIES_MAX:
                break
            pause_s = min(PAUSE_FIRST_S * (1 << number), PAUSE_MAX_S) * random.uniform(0.5, 1.0)  # noqa: S311 jitter
            await asyncio.sleep(max(0.0, min(pause_s, until - loop.time())))
        if is_ambiguous:
            raise Unanswered
        raise StripeRateLimited if limited else StripeUnavailable


def _intent_path(intent_id: str) -> str:
    return f"/v1/payment_intents/{stripe_ids.in_path(intent_id, stripe_ids.INTENT)}"


def facts_of(intent: Json) -> Facts:
    """Read a PaymentIntent as Stripe shows it, whether its charge and method are expanded or not."""
    currency = str(intent["currency"])
    charge = intent.get("latest_charge")
    charge_object: Json = charge if isinstance(charge, Mapping) else {}
    error = intent.get("last_payment_error")
    # A state that Stripe invents later is one in which nothing is asked of us: it is looked at again.
    state = STATES.get(str(intent["status"]), PROCESSING)
    return Facts(
        intent_id=str(intent["id"]),
        state=state,
        amount_minor=from_stripe(int(intent["amount"]), currency),
        currency_code=currency.upper(),
        captured_minor=from_stripe(int(intent.get("amount_received") or 0), currency),
        capturable_minor=from_stripe(int(intent.get("amount_capturable") or 0), currency),
        charge_id=str(charge_object.get("id") or (charge if isinstance(charge, str) else "") or ""),
        refunded_minor=from_stripe(int(charge_object.get("amount_refunded") or 0), currency),
        disputed=bool(charge_object.get("disputed")) if charge_object else None,
        error=_error(error) if error and state != "SUCCEEDED" else None,
        error_mark=_error_mark(error) if error else "",
        method=_method(intent, charge_object, error),
    )


def redirect_of(intent: Json) -> str | None:
    """Return where the payer has to go; empty when the browser's own library handles it, None when nowhere."""
    action = intent.get("next_action")
    if intent.get("status") != "requires_action" or not action:
        return None
    return str((action.get("redirect_to_url") or {}).get("url") or "")


def _look_again_or_give_up(error: stripe.APIError) -> None:
    """Return if the same call may be sent again; raise Unanswered if that will not say more."""
    headers = {name.lower(): value for name, value in dict(error.headers or {}).items()}
    if error.http_status == 409:  # the same key is being worked on: its answer comes
        return
    if headers.get("idempotent-replayed") == "true":
        raise Unanswered(is_replay=True) from error
    if headers.get("stripe-should-retry") == "false":
        raise Unanswered from error


def _refused(error: stripe.StripeError) -> StripeRefused:
    body = error.error
    return StripeRefused(
        code=(body.code if body is not None else None) or error.code or "unknown",
        param=(body.param if body is not None else None) or "",
        detail=error.user_message,
    )


def _intent_in(error: stripe.CardError) -> Json | None:
    body: Any = error.json_body or {}
    intent = body.get("error", {}).get("payment_intent")
    return intent if isinstance(intent, Mapping) else None


def _error(error: Json) -> PaymentError:
    decline_code = str(error.get("decline_code") or "")
    return PaymentError(
        code=str(error.get("code") or "card_error"),
        decline_code=decline_code,
        message=str(error.get("message") or ""),
        recoverable=decline_code not in UNRECOVERABLE,
    )


def _error_mark(error: Json) -> str:
    method = error.get("payment_method")
    method_id = method.get("id") if isinstance(method, Mapping) else method
    return str(error.get("charge") or f"{error.get('code')}:{method_id}")


def _method(intent: Json, charge: Json, error: Json | None) -> Method | None:
    """Return what was paid with last: by the charge, the expanded method, or the error that it led to."""
    given = intent.get("payment_method")
    failed = (error or {}).get("payment_method")
    if isinstance(given, Mapping):
        method_id, details = str(given.get("id") or ""), given
    elif given and charge.get("payment_method_details"):
        method_id, details = str(given), charge["payment_method_details"]
    elif isinstance(failed, Mapping):
        method_id, details = str(failed.get("id") or ""), failed
    elif given:
        return Method(payment_method_id=str(given))
    else:
        return None
    kind = str(details.get("type") or "")
    card = details.get("card") or {} if kind == "card" else {}
    return Method(
        payment_method_id=method_id,
        type=kind,
        brand=str(card.get("brand") or ""),
        last4=str(card.get("last4") or ""),
        expire_month=int(card.get("exp_month") or 0),
        expire_year=int(card.get("exp_year") or 0),
    )

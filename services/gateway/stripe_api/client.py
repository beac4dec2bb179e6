"""Stripe itself: one client, one retry layer, and answers told apart by what may be concluded from them.

A call ends in one of five ways: an answer; a decline, which is an answer too; a refusal that would be the same again;
certainly nothing (`StripeUnavailable`, `StripeRateLimited`); or nothing that can be relied upon (`Unanswered`), from
which nothing is concluded. Which one it is says the table in `outcomes`. A reading ends with an answer or with nothing.
Stripe's own retries are off. Amounts are converted here: everything behind holds ISO minor units.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, cast

import stripe

from services.gateway.errors import StripeRateLimited, StripeRefused, StripeUnavailable
from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.http_client import NEVER_SENT, StripeHttp
from services.gateway.stripe_api.limits import Endpoint, NotSent, StripeLimits, endpoint_of
from services.gateway.stripe_api.metrics import UNCOUNTED, StripeMetrics
from services.gateway.stripe_api.objects import parts, text, told
from services.gateway.stripe_api.outcomes import Declined, Kind, Outcome, Unanswered
from services.runtime.observability.spans import span
from services.runtime.observability.tracing import Kind as SpanKind
from services.runtime.observability.tracing import Value
from services.runtime.process.lifecycle import StartRefused
from services.runtime.rpc import call_context
from services.shared.codec import Json

TRY_TIMEOUT_S: Final = 8.0
"""Of one try. Stripe answers a confirm in 1 to 3 s; the bank may take longer, and then we ask again by the same key."""
TELLING_S: Final = 0.9
"""Silence for less says nothing about Stripe: our caller had no more time."""
CALL_BUDGET_S: Final = 20.0
"""Of all tries of one call, when the caller has no deadline, as in due work."""
ANSWER_MARGIN_S: Final = 0.5
"""What is kept of a caller's time to record the outcome and to answer."""
TRIES_MAX: Final = 5
PAUSE_FIRST_S: Final = 0.1
PAUSE_MAX_S: Final = 2.0

MISSING: Final = "resource_missing"
"""Code of a refusal that names something which is not there."""
THE_INTENT: Final = frozenset({"", "id", "intent", "payment_intent", "setup_intent"})
"""Parameters by which Stripe says that it is the intent which it does not know."""

PAYMENT_INTENTS: Final = "/v1/payment_intents"
SETUP_INTENTS: Final = "/v1/setup_intents"
SESSIONS: Final = "/v1/checkout/sessions"
SESSION_EXPANDED: Final = [
    "payment_intent.latest_charge",
    "payment_intent.payment_method",
    "setup_intent.payment_method",
]
"""So that one reading shows a hosted page and its intent as they stood in one moment."""

PAGE_SIZE: Final = 100
"""As long as Stripe lets it be."""
PAGES_MAX: Final = 20
"""Of one list: twice as many refunds as a payment may have."""
CLOCKS_APART_MAX: Final = timedelta(hours=1)
"""How far Stripe's clock may be from ours when we ask for what is newer than something of ours."""

Send = Callable[[], Awaitable[Any]]
IsSound = Callable[[object], bool]
"""Whether a body is what was asked for."""
_logger = logging.getLogger(__name__)


class KeyNotTaken(StartRefused):
    """Stripe does not take the key, or does not let it read its own account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Got:
    """What came back from one try."""

    kind: Kind
    body: Any = None
    status: int | None = None
    is_replayed: bool = False
    stripe_request_id: str = ""
    may_try_again: bool = True
    error: Exception | None = None

    @property
    def object(self) -> Json:
        """The object of an answer, or the intent of a decline."""
        found = outcomes.intent_in(self.body) if self.kind is Kind.DECLINE else self.body
        return cast("Json", found)


class Provider:
    """Stripe's API, as far as we use it.

    What changes something raises StripeRefused, Declined, Unanswered, StripeRateLimited or StripeUnavailable; the last
    two say that nothing happened. `is_repeat` says that the call may have been sent under this key before. Readings
    raise StripeRateLimited or StripeUnavailable. `require` is called before each call but that of `own_account_id`, and
    raises while nothing may be sent.
    """

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str | None,
        try_timeout_s: float = TRY_TIMEOUT_S,
        require: Callable[[], None] = lambda: None,
        limits: StripeLimits | None = None,
        metrics: StripeMetrics = UNCOUNTED,
    ) -> None:
        stripe.enable_telemetry = False  # or it writes an id into the user's configuration folder
        self._require = require
        self._try_timeout_s = try_timeout_s
        self._limits = limits or StripeLimits(None, clock=time.monotonic, failures_max=sys.maxsize)
        self._metrics = metrics
        self._http = StripeHttp(base=api_base or stripe.DEFAULT_API_BASE, try_timeout_s=try_timeout_s)
        self._client_of = partial(
            stripe.StripeClient,
            http_client=self._http,
            max_network_retries=0,
            base_addresses={"api": api_base} if api_base else {},
        )
        self._client = self._client_of(api_key)

    def use(self, api_key: str) -> None:
        """Send what begins from now on by another key of the same account; what was sent is not asked for again."""
        self._client = self._client_of(api_key)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()

    async def own_account_id(self, api_key: str | None = None) -> str:
        """Read whose key this is, ours if no other is given, in one try.

        Raises KeyNotTaken for good, StripeUnavailable for now.
        """
        client = self._client if api_key is None else self._client_of(api_key)
        try:
            async with asyncio.timeout(self._try_timeout_s):
                return str((await client.raw_request_async("get", "/v1/account")).data["id"])
        except stripe.AuthenticationError as error:
            raise KeyNotTaken("Stripe does not take STRIPE_API_KEY: it is wrong, expired or revoked.") from error
        except stripe.PermissionError as error:
            raise KeyNotTaken("STRIPE_API_KEY may not read its own account; permit a restricted key that.") from error
        except (stripe.StripeError, TimeoutError, LookupError, TypeError) as error:
            raise StripeUnavailable from error

    async def create_customer(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a customer."""
        got = await self._post("/v1/customers", params, key=key, is_repeat=is_repeat, of_type="customer")
        return got.object

    async def update_customer(self, customer_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Change a customer's details."""
        path = f"/v1/customers/{stripe_ids.in_path(customer_id, stripe_ids.CUSTOMER)}"
        return (await self._post(path, params, key=key, is_repeat=is_repeat, of_type="customer")).object

    async def attach_method(self, method_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Attach a payment method to a customer."""
        path = f"{_method_path(method_id)}/attach"
        return (await self._post(path, params, key=key, is_repeat=is_repeat, of_type="payment_method")).object

    async def detach_method(self, method_id: str, *, key: str, is_repeat: bool = False) -> Json:
        """Detach a payment method from its customer; it can never be used again."""
        path = f"{_method_path(method_id)}/detach"
        return (await self._post(path, {}, key=key, is_repeat=is_repeat, of_type="payment_method")).object

    async def retrieve_method(self, method_id: str) -> Json | None:
        """Read a payment method; None if Stripe knows none by this id."""
        is_method = partial(outcomes.is_object, of_type="payment_method")
        try:
            return await self._get(_method_path(method_id), is_method, may_be_missing=True)
        except StripeRefused as refusal:
            if refusal.metadata["code"] == MISSING:
                return None
            raise StripeUnavailable from refusal

    async def list_methods(self, customer_id: str) -> list[Json] | None:
        """Read the payment methods of a customer, the newest first; None of one who is gone."""
        try:
            return await self._all(
                "/v1/payment_methods", of_type="payment_method", may_be_missing=True, customer=customer_id
            )
        except StripeRefused as refusal:
            if refusal.metadata["code"] == MISSING:
                return None
            raise StripeUnavailable from refusal

    async def create_account(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a seller's account."""
        got = await self._post("/v1/accounts", params, key=key, is_repeat=is_repeat, of_type="account")
        return got.object

    async def retrieve_account(self, account_id: str) -> Json:
        """Read a seller's account. Raises StripeRefused too: whoever asks may name one that is not ours."""
        path = f"/v1/accounts/{stripe_ids.in_path(account_id, stripe_ids.ACCOUNT)}"
        return await self._get(path, partial(outcomes.is_object, of_type="account"), may_be_missing=True)

    async def create_intent(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create an intent."""
        return await self._change_intent(PAYMENT_INTENTS, params, key=key, is_repeat=is_repeat)

    async def create_setup_intent(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a setup intent."""
        return await self._change_intent(SETUP_INTENTS, params, key=key, is_repeat=is_repeat)

    async def confirm_intent(self, intent_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Confirm an intent of either kind."""
        return await self._change_intent(f"{_intent_path(intent_id)}/confirm", params, key=key, is_repeat=is_repeat)

    async def capture_intent(self, intent_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Capture what an intent holds."""
        return await self._change_intent(f"{_intent_path(intent_id)}/capture", params, key=key, is_repeat=is_repeat)

    async def cancel_intent(self, intent_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Cancel an intent of either kind."""
        return await self._change_intent(f"{_intent_path(intent_id)}/cancel", params, key=key, is_repeat=is_repeat)

    async def retrieve_intent(self, intent_id: str) -> Json:
        """Read an intent with its latest charge and its method."""
        is_intent = partial(outcomes.is_object, of_type="payment_intent")
        return await self._get(_intent_path(intent_id), is_intent, expand=["latest_charge", "payment_method"])

    async def retrieve_attempt(self, intent_id: str) -> Json:
        """Read the intent of an attempt, of either kind."""
        if not stripe_ids.is_setup(intent_id):
            return await self.retrieve_intent(intent_id)
        is_intent = partial(outcomes.is_object, of_type="setup_intent")
        return await self._get(_intent_path(intent_id), is_intent, expand=["payment_method"])

    async def reread_intent(self, intent_id: str, refusal: StripeRefused) -> Json:
        """Read the intent of a call that Stripe refused.

        An intent cannot be deleted, so Stripe that does not know it is another account, or none: nothing is concluded.
        """
        if refusal.metadata["code"] == MISSING and refusal.metadata["param"] in THE_INTENT:
            _logger.error("Stripe does not know intent %s; is it the right account?", intent_id)
            raise StripeUnavailable from refusal
        return await self.retrieve_attempt(intent_id)

    async def list_intents(self, customer_id: str, *, since: datetime, of_setup: bool = False) -> list[Json]:
        """Read a customer's intents of one kind since then; none of one who is gone.

        A list is up to date at once; a search is not, and is never asked.
        """
        path, of_type = (SETUP_INTENTS, "setup_intent") if of_setup else (PAYMENT_INTENTS, "payment_intent")
        return await self._of_customer(path, customer_id, since=since, of_type=of_type)

    async def _of_customer(self, path: str, customer_id: str, *, since: datetime, of_type: str) -> list[Json]:
        begin = int((since - CLOCKS_APART_MAX).timestamp())
        try:
            return await self._all(
                path,
                of_type=of_type,
                may_be_missing=True,
                customer=customer_id,
                created={"gte": begin},
            )
        except StripeRefused as refusal:
            if (refusal.metadata["code"], refusal.metadata["param"]) == (MISSING, "customer"):
                return []
            raise StripeUnavailable from refusal

    async def create_session(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a hosted page."""
        return await self._change_session(SESSIONS, params, key=key, is_repeat=is_repeat)

    async def expire_session(self, session_id: str, *, key: str, is_repeat: bool = False) -> Json:
        """End a hosted page that is open; its intent is shown with it."""
        path, params = f"{_session_path(session_id)}/expire", {"expand": SESSION_EXPANDED}
        return await self._change_session(path, params, key=key, is_repeat=is_repeat)

    async def retrieve_session(self, session_id: str) -> Json:
        """Read a hosted page with its intent, as both stand in one moment."""
        is_session = partial(outcomes.is_object, of_type="checkout.session")
        return await self._get(_session_path(session_id), is_session, expand=SESSION_EXPANDED)

    async def reread_session(self, session_id: str, refusal: StripeRefused) -> Json:
        """Read the hosted page of a call that Stripe refused; as `reread_intent` does."""
        if refusal.metadata["code"] == MISSING:
            _logger.error("Stripe does not know session %s; is it the right account?", session_id)
            raise StripeUnavailable from refusal
        return await self.retrieve_session(session_id)

    async def list_sessions(self, customer_id: str, *, since: datetime) -> list[Json]:
        """Read a customer's hosted pages since then; none of one who is gone."""
        return await self._of_customer(SESSIONS, customer_id, since=since, of_type="checkout.session")

    async def create_refund(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a refund."""
        got = await self._post("/v1/refunds", params, key=key, is_repeat=is_repeat, of_type="refund")
        if got.is_replayed:
            return await _now(self.retrieve_refund(str(got.object["id"])))
        return got.object

    async def retrieve_refund(self, refund_id: str) -> Json:
        """Read a refund."""
        path = f"/v1/refunds/{stripe_ids.in_path(refund_id, stripe_ids.REFUND)}"
        return await self._get(path, partial(outcomes.is_object, of_type="refund"))

    async def list_refunds(self, intent_id: str) -> list[Json]:
        """Read the refunds of an intent, the newest first."""
        return await self._all("/v1/refunds", of_type="refund", payment_intent=intent_id)

    async def list_disputes(self, charge_id: str) -> list[Json]:
        """Read the disputes and inquiries of a charge, the newest first."""
        return await self._all("/v1/disputes", of_type="dispute", charge=charge_id)

    async def _change_intent(self, path: str, params: Json, *, key: str, is_repeat: bool) -> Json:
        of_type = "setup_intent" if path.startswith(SETUP_INTENTS) else "payment_intent"
        got = await self._post(path, params, key=key, is_repeat=is_repeat, of_type=of_type)
        intent = got.object
        if got.is_replayed:
            intent = await _now(self.retrieve_attempt(str(intent["id"])))
        if got.kind is Kind.DECLINE:
            raise Declined(intent)
        return intent

    async def _change_session(self, path: str, params: Json, *, key: str, is_repeat: bool) -> Json:
        got = await self._post(path, params, key=key, is_repeat=is_repeat, of_type="checkout.session")
        if got.is_replayed:
            return await _now(self.retrieve_session(str(got.object["id"])))
        return got.object

    async def _post(self, path: str, params: Json, *, key: str, is_repeat: bool, of_type: str) -> _Got:
        """Send until there is something to rely on, or the time is up. Each try sends the same under the same key.

        Raises StripeRateLimited or StripeUnavailable when no try can have had an effect, Unanswered when one may have.
        """

        def send() -> Awaitable[Any]:
            # The client's raw requests answer with plain values; its objects cost more than all the rest of a call.
            return self._client.raw_request_async("post", path, **params, idempotency_key=key)

        is_limited = False

        def is_settled(got: _Got) -> bool:
            nonlocal is_repeat, is_limited
            outcome = outcomes.conclusion(got.kind, is_repeat=is_repeat, is_replayed=got.is_replayed)
            if outcome is Outcome.REFUSED:
                raise _refused(got) from got.error
            if outcome is Outcome.READ:
                _logger.error("Stripe has something else under this key, or a failure: %r", got.error)
                raise Unanswered(is_replay=True) from got.error
            is_repeat = is_repeat or outcome is Outcome.UNKNOWN
            is_limited = is_limited or got.kind is Kind.LIMIT
            return outcome in (Outcome.ANSWERED, Outcome.DECLINED)

        is_sound = partial(outcomes.is_object, of_type=of_type)
        got = await self._try(endpoint_of("post", path), send, is_settled, is_sound, key=key)
        if got is not None:
            return got
        if is_repeat:
            raise Unanswered
        raise StripeRateLimited if is_limited else StripeUnavailable

    async def _get(self, path: str, is_sound: IsSound, *, may_be_missing: bool = False, **params: Any) -> Json:
        """Read until there is an answer. Nothing but an answer says anything of what is known to exist."""

        def send() -> Awaitable[Any]:
            return self._client.raw_request_async("get", path, **params)

        is_limited = False

        def is_settled(got: _Got) -> bool:
            nonlocal is_limited
            is_limited = is_limited or got.kind is Kind.LIMIT
            if got.kind in (Kind.REFUSAL, Kind.DECLINE):
                if may_be_missing:
                    raise _refused(got) from got.error
                _logger.error("Stripe does not show %s, which is known; is it the right account? %r", path, got.error)
                raise StripeUnavailable from got.error
            return got.kind is Kind.ANSWER

        got = await self._try(endpoint_of("get", path), send, is_settled, is_sound)
        if got is not None:
            return got.object
        raise StripeRateLimited if is_limited else StripeUnavailable

    async def _all(self, path: str, *, of_type: str, may_be_missing: bool = False, **params: Any) -> list[Json]:
        """Read every page of a list. One that goes on after `PAGES_MAX` says nothing about what is not in it."""
        found: list[Json] = []
        is_page = partial(outcomes.is_list, of_type=of_type)
        for _ in range(PAGES_MAX):
            page = await self._get(path, is_page, may_be_missing=may_be_missing, **params, limit=PAGE_SIZE)
            found += parts(page, "data")
            if not page["has_more"]:
                return found
            params["starting_after"] = found[-1]["id"]
        _logger.error("%s goes on after %d pages", path, PAGES_MAX)
        raise StripeUnavailable

    async def _try(
        self,
        endpoint: Endpoint,
        send: Send,
        is_settled: Callable[[_Got], bool],
        is_sound: IsSound,
        *,
        key: str | None = None,
    ) -> _Got | None:
        """Try until what came back settles it, and return that; None when there is no time or no use in more."""
        self._require()
        loop = asyncio.get_running_loop()
        remaining_s = call_context.time_remaining()
        budget_s = CALL_BUDGET_S if remaining_s is None else min(CALL_BUDGET_S, remaining_s - ANSWER_MARGIN_S)
        until = loop.time() + budget_s
        for number in range(TRIES_MAX):
            left_s = until - loop.time()
            if left_s <= 0:
                return None
            with span(f"stripe {endpoint.name}", SpanKind.CLIENT) as said:
                got = await self._once(endpoint, send, left_s=left_s, is_sound=is_sound)
                if said is not None:
                    said.update(_said(got, number=number + 1, key=key))
            if is_settled(got):
                return got
            if got.kind in outcomes.FUTILE_AT_ONCE:
                _logger.error("Stripe, or a proxy before it, denies access: %r", got.error)
                return None
            _logger.warning("Stripe: try %d failed: %s %r", number + 1, got.kind.name, got.error)
            if number + 1 == TRIES_MAX or not got.may_try_again:
                return None
            pause_s = min(PAUSE_FIRST_S * (1 << number), PAUSE_MAX_S) * random.uniform(0.5, 1.0)  # noqa: S311 jitter
            await asyncio.sleep(max(0.0, min(pause_s, until - loop.time())))
        return None

    async def _once(self, endpoint: Endpoint, send: Send, *, left_s: float, is_sound: IsSound) -> _Got:
        """Try once when it is our turn. What is not sent is like a limit of Stripe's, or no connection."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with self._limits.sending(endpoint, wait_max_s=left_s) as sending:
                sent = loop.time()
                waited_s = sent - began
                self._metrics.waited(seconds=waited_s)
                seconds = max(min(self._try_timeout_s, left_s - waited_s), 0.0)
                got = await _got(send, seconds=seconds, is_sound=is_sound)
                self._metrics.tried(endpoint.name, got.kind, seconds=loop.time() - sent)
                if got.kind is not Kind.SILENCE or seconds >= TELLING_S:
                    sending.is_answered = got.is_replayed or got.kind not in outcomes.AWAY
                return got
        except NotSent as reason:
            self._metrics.not_sent(endpoint.name)
            return _Got(kind=Kind.UNSENT if reason.is_away else Kind.LIMIT, may_try_again=False, error=reason)


def _method_path(method_id: str) -> str:
    return f"/v1/payment_methods/{stripe_ids.in_path(method_id, stripe_ids.PAYMENT_METHOD)}"


def _intent_path(intent_id: str) -> str:
    if stripe_ids.is_setup(intent_id):
        return f"{SETUP_INTENTS}/{stripe_ids.in_path(intent_id, stripe_ids.SETUP_INTENT)}"
    return f"{PAYMENT_INTENTS}/{stripe_ids.in_path(intent_id, stripe_ids.INTENT)}"


def _session_path(session_id: str) -> str:
    return f"{SESSIONS}/{stripe_ids.in_path(session_id, stripe_ids.CHECKOUT_SESSION)}"


async def _now(reading: Awaitable[Json]) -> Json:
    """Read again what a replayed answer is about: it says how that stood when it was answered first."""
    try:
        return await reading
    except (StripeUnavailable, StripeRateLimited) as silence:
        raise Unanswered from silence


async def _got(send: Send, *, seconds: float, is_sound: IsSound) -> _Got:
    """Try once, and return what came back."""
    try:
        async with asyncio.timeout(seconds):
            response = await send()
        headers = _headers(response.headers)
        return _Got(
            kind=Kind.ANSWER if is_sound(response.data) else Kind.UNREADABLE,
            body=response.data,
            status=response.code,
            is_replayed=headers.get("idempotent-replayed") == "true",
            stripe_request_id=headers.get("request-id", ""),
        )
    except (stripe.APIConnectionError, TimeoutError) as error:
        kind = Kind.UNSENT if isinstance(error.__cause__, NEVER_SENT) else Kind.SILENCE
        return _Got(kind=kind, error=error)
    except stripe.StripeError as error:
        headers = _headers(error.headers)
        kind = outcomes.kind_of_error(error.http_status, error.json_body)
        return _Got(
            kind=kind,
            body=error.json_body,
            status=error.http_status,
            is_replayed=headers.get("idempotent-replayed") == "true",
            stripe_request_id=headers.get("request-id", ""),
            may_try_again=kind is not Kind.FAILURE or headers.get("stripe-should-retry") != "false",
            error=error,
        )
    except Exception as error:  # whatever the client makes of a body that it cannot read
        _logger.exception("an answer of Stripe's could not be read")
        return _Got(kind=Kind.UNREADABLE, error=error)


def _said(got: _Got, *, number: int, key: str | None) -> dict[str, Value]:
    """Return what a try's span says: how it went, and what Stripe's support finds it by. Nothing of what was sent."""
    said: dict[str, Value] = {"batzen.try": number, "batzen.outcome": got.kind.name}
    if got.status is not None:
        said["http.response.status_code"] = got.status
    if got.stripe_request_id:
        said["stripe.request_id"] = got.stripe_request_id
    if key is not None:
        said["batzen.idempotency_key_hash"] = hashlib.sha256(key.encode()).hexdigest()[:16]
    if got.kind not in (Kind.ANSWER, Kind.DECLINE):
        said["error.type"] = got.kind.name
    return said


def _headers(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in dict(headers or {}).items()}


def _refused(got: _Got) -> StripeRefused:
    error = outcomes.error_in(got.body) or {}
    declined = {"decline_code": text(error, "decline_code")} if error.get("decline_code") else {}
    return StripeRefused(
        code=text(error, "code") or text(error, "type") or f"http_{got.status}",
        param=text(error, "param"),
        detail=told(error.get("message")),
        **declined,
    )

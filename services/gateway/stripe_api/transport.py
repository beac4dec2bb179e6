"""Stripe over the wire: one client, one retry layer, and answers told apart by what may be concluded from them.

A call ends in one of five ways: an answer; a decline, which is an answer too; a refusal that would be the same again;
certainly nothing (`StripeUnavailable`, `StripeRateLimited`); or nothing that can be relied upon (`Unanswered`), from
which nothing is concluded. Which one it is says the table in `outcomes`. A reading ends with an answer or with nothing.
Stripe's own retries are off.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import stripe

from services.gateway.errors import StripeRateLimited, StripeUnavailable
from services.gateway.stripe_api import outcomes
from services.gateway.stripe_api.http_client import StripeHttp
from services.gateway.stripe_api.limits import Endpoint, NotSent, StripeLimits, endpoint_of
from services.gateway.stripe_api.metrics import UNCOUNTED, StripeMetrics
from services.gateway.stripe_api.objects import parts
from services.gateway.stripe_api.one_try import Got, IsSound, Send, refusal, told_to_span, tried
from services.gateway.stripe_api.outcomes import Kind, Outcome, Unanswered
from services.gateway.stripe_api.own_account import own_account
from services.runtime.observability.spans import span
from services.runtime.observability.tracing import Kind as SpanKind
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

PAGE_SIZE: Final = 100
"""As long as Stripe lets it be."""
PAGES_MAX: Final = 20
"""Of one list: twice as many refunds as a payment may have."""

_logger = logging.getLogger(__name__)


class Transport:
    """Sends calls and readings, tries them again, and says how they ended.

    A call raises StripeRefused, Unanswered, StripeRateLimited or StripeUnavailable; the last two say that nothing
    happened. `is_repeat` says that the call may have been sent under this key before. A reading raises
    StripeRateLimited or StripeUnavailable. `require` is called before each but that of `own_account_id`, and raises
    while nothing may be sent.
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
        self.base = api_base or stripe.DEFAULT_API_BASE
        """Where Stripe is called."""
        self._http = StripeHttp(base=self.base, try_timeout_s=try_timeout_s)
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

    async def own_account_id(self, api_key: str | None = None, *, within_s: float = math.inf) -> str:
        """Read whose key this is, ours if no other is given, in one try, which takes no longer than `within_s`.

        Raises KeyNotTaken for good, StripeUnavailable for now.
        """
        client = self._client if api_key is None else self._client_of(api_key)
        return str((await own_account(client, seconds=min(self._try_timeout_s, within_s)))["id"])

    async def post(
        self,
        path: str,
        params: Json,
        *,
        key: str,
        is_repeat: bool,
        of_type: str,
        is_sound: IsSound | None = None,
    ) -> Got:
        """Send until there is something to rely on, or the time is up. Each try sends the same under the same key.

        `is_sound` says what an answer is, where that is no object with an id.
        Raises StripeRateLimited or StripeUnavailable when no try can have had an effect, Unanswered when one may have.
        """
        return await self._change(
            "post", path, params, key=key, is_repeat=is_repeat, of_type=of_type, is_sound=is_sound
        )

    async def delete(self, path: str, *, key: str, of_type: str) -> Got:
        """Delete something, as `post` does: Stripe keeps no key of it, so a try after one with an effect is refused."""
        return await self._change("delete", path, {}, key=key, is_repeat=False, of_type=of_type)

    async def _change(
        self,
        method: str,
        path: str,
        params: Json,
        *,
        key: str,
        is_repeat: bool,
        of_type: str,
        is_sound: IsSound | None = None,
    ) -> Got:
        def send() -> Awaitable[Any]:
            # The client's raw requests answer with plain values; its objects cost more than all the rest of a call.
            return self._client.raw_request_async(method, path, **params, idempotency_key=key)

        kinds: set[Kind] = set()

        def is_settled(got: Got) -> bool:
            nonlocal is_repeat
            kinds.add(got.kind)
            outcome = outcomes.conclusion(got.kind, is_repeat=is_repeat, is_replayed=got.is_replayed)
            if outcome is Outcome.REFUSED:
                raise refusal(got) from got.error
            if outcome is Outcome.READ:
                _logger.error("Stripe has something else under this key, or a failure: %r", got.error)
                raise Unanswered(is_replay=True, is_kept=got.is_replayed) from got.error
            is_repeat = is_repeat or outcome is Outcome.UNKNOWN
            return outcome in (Outcome.ANSWERED, Outcome.DECLINED)

        is_sound = is_sound or partial(outcomes.is_object, of_type=of_type)
        got = await self._try(endpoint_of(method, path), send, is_settled, is_sound, key=key)
        if got is not None:
            return got
        if is_repeat:
            raise Unanswered(is_refused=kinds == {Kind.REFUSAL})
        raise StripeRateLimited if Kind.LIMIT in kinds else StripeUnavailable

    async def get(
        self, path: str, is_sound: IsSound, *, may_be_missing: bool = False, may_be_denied: bool = False, **params: Any
    ) -> Json:
        """Read until there is an answer. Nothing but an answer says anything of what is known to exist.

        `may_be_denied` says that a restricted key may be without this reading and do all else: then StripeUnavailable
        is raised from `stripe.PermissionError`, and Stripe is not taken to be away for it.
        """

        def send() -> Awaitable[Any]:
            return self._client.raw_request_async("get", path, **params)

        is_limited = False

        def is_settled(got: Got) -> bool:
            nonlocal is_limited
            is_limited = is_limited or got.kind is Kind.LIMIT
            if got.kind in (Kind.REFUSAL, Kind.DECLINE):
                if may_be_missing:
                    raise refusal(got) from got.error
                _logger.error("Stripe does not show %s, which is known; is it the right account? %r", path, got.error)
                raise StripeUnavailable from got.error
            if may_be_denied and got.is_denied:
                _logger.warning("Stripe does not let this key read %s: %r", path, got.error)
                raise StripeUnavailable from got.error
            return got.kind is Kind.ANSWER

        got = await self._try(endpoint_of("get", path), send, is_settled, is_sound, may_be_denied=may_be_denied)
        if got is not None:
            return got.object
        raise StripeRateLimited if is_limited else StripeUnavailable

    async def all(
        self, path: str, *, of_type: str, may_be_missing: bool = False, may_be_denied: bool = False, **params: Any
    ) -> list[Json]:
        """Read every page of a list. One that goes on after `PAGES_MAX` says nothing about what is not in it."""
        found: list[Json] = []
        is_page = partial(outcomes.is_list, of_type=of_type)
        for _ in range(PAGES_MAX):
            page = await self.get(
                path, is_page, may_be_missing=may_be_missing, may_be_denied=may_be_denied, **params, limit=PAGE_SIZE
            )
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
        is_settled: Callable[[Got], bool],
        is_sound: IsSound,
        *,
        key: str | None = None,
        may_be_denied: bool = False,
    ) -> Got | None:
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
                got = await self._once(endpoint, send, left_s=left_s, is_sound=is_sound, may_be_denied=may_be_denied)
                if said is not None:
                    said.update(told_to_span(got, number=number + 1, key=key))
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

    async def _once(
        self, endpoint: Endpoint, send: Send, *, left_s: float, is_sound: IsSound, may_be_denied: bool
    ) -> Got:
        """Try once when it is our turn. What is not sent is like a limit of Stripe's, or no connection."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with self._limits.sending(endpoint, wait_max_s=left_s) as sending:
                sent = loop.time()
                waited_s = sent - began
                self._metrics.waited(seconds=waited_s)
                seconds = max(min(self._try_timeout_s, left_s - waited_s), 0.0)
                got = await tried(send, seconds=seconds, is_sound=is_sound)
                self._metrics.tried(endpoint.name, got.kind, seconds=loop.time() - sent)
                if got.kind is not Kind.SILENCE or seconds >= TELLING_S:
                    is_telling = not (may_be_denied and got.is_denied)
                    sending.is_answered = (got.is_replayed or got.kind not in outcomes.AWAY) if is_telling else None
                return got
        except NotSent as reason:
            self._metrics.not_sent(endpoint.name)
            return Got(kind=Kind.UNSENT if reason.is_away else Kind.LIMIT, may_try_again=False, error=reason)


async def as_it_is_now(reading: Awaitable[Json]) -> Json:
    """Read again what a replayed answer is about: it says how that stood when it was answered first."""
    try:
        return await reading
    except (StripeUnavailable, StripeRateLimited) as silence:
        raise Unanswered from silence

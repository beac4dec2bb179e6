"""Stripe's webhooks where the old system had them: handed on to the gateway as they came, unread.

Whether an event is Stripe's, and what becomes of it, is the gateway's to say. What it did not take is not acknowledged,
so Stripe sends it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import aiohttp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.web.failures import Refusal
from services.web.rates import WEBHOOKS, AddressRates, address_of

PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {"/api/payments/webhook": "", "/api/payments/webhook/connect": "/connect"}
)
"""Where Stripe posts to, and what that is behind the gateway's address: the platform's events, and its sellers'."""
BODY_BYTES_MAX: Final = 256 * 1024
"""As much as the gateway takes; Stripe's events are 2 to 20 KB."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=2)
"""Stripe waits 10 s and more."""
SIGNATURE: Final = "stripe-signature"
HANDED_ON: Final = ("content-type", SIGNATURE)
_logger = logging.getLogger(__name__)


class Webhooks:
    """Hands on what Stripe posts."""

    def __init__(self, target: str | None, client: aiohttp.ClientSession, addresses: AddressRates) -> None:
        """Without a `target` nothing is taken: Stripe posts to the gateway itself. `addresses` count who posts."""
        self._target = target
        self._client = client
        self._addresses = addresses

    def routes(self) -> list[BaseRoute]:
        """Return the routes, which have to come before those of REST."""
        return [Route(path, self.endpoint, methods=["POST"]) for path in PATHS]

    async def endpoint(self, request: Request) -> Response:
        """Answer as the gateway does: received, or not."""
        self._addresses.take(address_of(request.scope))
        if self._target is None:
            raise Refusal(404, "NOT_FOUND")
        if SIGNATURE not in request.headers:
            raise Refusal(400, "FIELD_MISSING", field="Stripe-Signature")
        headers = {name: request.headers[name] for name in HANDED_ON if name in request.headers}
        body = await request.body()
        try:
            async with self._client.post(
                f"{self._target}{PATHS[request.url.path]}", data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            _logger.warning("A webhook of Stripe's was not handed on: %r", error)
            status = HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"received": status == HTTPStatus.OK}, status_code=status)


@asynccontextmanager
async def handing_on(target: str | None) -> AsyncIterator[Webhooks]:
    """Yield what hands webhooks on while inside."""
    async with aiohttp.ClientSession(timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as client:
        yield Webhooks(target, client, AddressRates(WEBHOOKS, now=time.monotonic))

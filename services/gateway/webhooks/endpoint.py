"""Where Stripe's webhooks arrive: `POST /webhooks/stripe` and `POST /webhooks/stripe/connect`.

Verify, store raw, answer 200; what an event leads to is due work, done when Stripe has gone. Whatever is not a signed
event of Stripe's is refused (`refusals.ANSWERS`) and changes nothing; a good one that could not be stored is answered
500, so that Stripe sends it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.errors import DependencyUnavailable
from services.gateway.webhooks import events, signature
from services.gateway.webhooks.inbox import Inbox
from services.gateway.webhooks.port import BROKEN
from services.gateway.webhooks.refusals import ANSWERS, Refusals
from services.gateway.webhooks.signature import WebhookRefused
from services.runtime.rpc import call_context

PLATFORM_PATH: Final = "/webhooks/stripe"
CONNECT_PATH: Final = "/webhooks/stripe/connect"
BODY_BYTES_MAX: Final = 256 * 1024
"""Stripe's events are 2 to 20 KB."""
BODY_TIMEOUT_S: Final = 10.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint as it is registered at Stripe: a path, and the secrets that are active for it."""

    path: str
    tenant_id: str
    is_connect: bool
    """It gets the events of connected accounts, and nothing else; any other endpoint gets none of those."""
    secrets: tuple[str, ...] = field(repr=False)


def endpoints_of(tenant_id: str, *, secrets: Sequence[str], connect_secrets: Sequence[str] = ()) -> list[Endpoint]:
    """Return the endpoints of a tenant; one without a secret does not exist."""
    platform = Endpoint(path=PLATFORM_PATH, tenant_id=tenant_id, is_connect=False, secrets=tuple(secrets))
    connect = Endpoint(path=CONNECT_PATH, tenant_id=tenant_id, is_connect=True, secrets=tuple(connect_secrets))
    return [endpoint for endpoint in (platform, connect) if endpoint.secrets]


def make_app(inbox: Inbox, *, endpoints: Sequence[Endpoint], now: Callable[[], datetime]) -> Starlette:
    """Return the application that receives webhooks on exactly the paths of `endpoints`."""
    refusals = Refusals()
    routes = [
        Route(endpoint.path, _Receiver(inbox, endpoint=endpoint, refusals=refusals, now=now).receive, methods=["POST"])
        for endpoint in endpoints
    ]

    async def not_served(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 as registered
        reason = "PATH_UNKNOWN" if error.status_code == 404 else "METHOD_NOT_ALLOWED"
        return _refused(request, reason, refusals=refusals, fields={}, headers=error.headers)

    app = Starlette(routes=routes, exception_handlers={404: not_served, 405: not_served})
    app.router.redirect_slashes = False
    app.state.refusals = refusals
    return app


class _Receiver:
    """Takes what arrives at one endpoint."""

    def __init__(self, inbox: Inbox, *, endpoint: Endpoint, refusals: Refusals, now: Callable[[], datetime]) -> None:
        self._inbox = inbox
        self._refusals = refusals
        self._endpoint = endpoint
        self._now = now

    async def receive(self, request: Request) -> Response:
        started = time.perf_counter()
        endpoint = self._endpoint
        fields: dict[str, object] = {"method": f"POST {endpoint.path}", "tenant": endpoint.tenant_id}
        level = logging.INFO
        try:
            body = await _body_of(request)
            header = request.headers.get("stripe-signature")
            now = self._now()
            # Header bytes reach us as latin-1, so this gives back what was sent.
            signed = None if header is None else header.encode("latin-1")
            signature.verify(body, header=signed, secrets=endpoint.secrets, now=now)
            event = events.read(body)
            fields |= {"correlation_id": event.event_id, "event_id": event.event_id, "event_type": event.type}
            # What the event leads to is found in the logs by the event's id.
            with call_context.acting_for(endpoint.tenant_id, correlation=event.event_id):
                receipt = await self._inbox.receive(
                    event, body=body, tenant_id=endpoint.tenant_id, is_connect=endpoint.is_connect, now=now
                )
            fields["receipt"] = receipt.name
            response: Response = JSONResponse({"receipt": receipt.name})
        except WebhookRefused as refusal:
            return _refused(request, refusal.reason, refusals=self._refusals, fields=fields)
        except DependencyUnavailable as error:
            level, fields["reason"], fields["cause"] = logging.ERROR, error.reason, repr(error.__cause__)[:200]
            response = _answer(500, error.reason)
        fields |= {"status": response.status_code, "duration_ms": round((time.perf_counter() - started) * 1000, 2)}
        _logger.log(level, "webhook", extra={"fields": fields})
        return response


def _refused(
    request: Request,
    reason: str,
    *,
    refusals: Refusals,
    fields: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
) -> Response:
    if request.scope.get(BROKEN):  # and answered as that
        reason = "REQUEST_BROKEN"
    status_code, _ = ANSWERS[reason]
    refusals.note(reason, fields={**fields, "status": status_code})
    return _answer(status_code, reason, headers=headers)


def _answer(status_code: int, reason: str, *, headers: Mapping[str, str] | None = None) -> Response:
    # Only Stripe keeps its connection: whoever is refused has to come again.
    return JSONResponse({"reason": reason}, status_code=status_code, headers={**(headers or {}), "connection": "close"})


async def _body_of(request: Request) -> bytes:
    """Return the raw body, as it was signed."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise WebhookRefused("CONTENT_TYPE_NOT_JSON")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:12]) > BODY_BYTES_MAX:
        raise WebhookRefused("BODY_TOO_LARGE")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise WebhookRefused("BODY_TOO_LARGE")
    except TimeoutError:
        raise WebhookRefused("BODY_TOO_SLOW") from None
    except ClientDisconnect:
        raise WebhookRefused("BODY_CUT_OFF") from None
    return bytes(body)

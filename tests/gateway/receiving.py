"""Stripe's side of a webhook, as a test sends it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import sqlalchemy as sa
import stripe
from sqlalchemy.ext.asyncio import AsyncEngine
from stripe import WebhookSignature

from services.gateway.webhooks.endpoint import PLATFORM_PATH, Webhooks, endpoints_of
from services.gateway.webhooks.inbox import Inbox
from services.gateway.webhooks.metrics import UNCOUNTED, WebhookMetrics
from services.gateway.webhooks.port import serving
from services.gateway.webhooks.refusals import Refusals
from services.runtime.database.connections import reading
from services.runtime.process.followed import Followed
from tests.clock import Clock
from tests.eventually import WITHIN_S

SECRET = "whsec_platform"
ROLLED_SECRET = "whsec_platform_before"
CONNECT_SECRET = "whsec_connect"
PLATFORM_SECRETS = Followed((SECRET, ROLLED_SECRET))
CONNECT_SECRETS = Followed((CONNECT_SECRET,))


class Sender:
    """Sends webhooks to one gateway."""

    def __init__(self, base_url: str, *, clock: Clock, refusals: Refusals) -> None:
        self.base_url = base_url
        self.refusals = refusals
        self._clock = clock
        self._client = httpx.AsyncClient(base_url=base_url, timeout=WITHIN_S, trust_env=False)

    async def send(self, event: Mapping[str, Any], *, path: str = PLATFORM_PATH, secret: str = SECRET) -> str:
        """Deliver an event, signed; return the receipt of an answer that must be 200."""
        answer = await self.post(json.dumps(event).encode(), path=path, secret=secret)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["receipt"])

    async def post(
        self,
        body: bytes,
        *,
        path: str = PLATFORM_PATH,
        secret: str = SECRET,
        at: datetime | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> httpx.Response:
        """Post a body, signed unless `headers` say otherwise."""
        at = at or self._clock.now()
        ours: dict[str, str | bytes] = {"content-type": "application/json; charset=utf-8"}
        if headers is None or "stripe-signature" not in headers:
            ours["stripe-signature"] = signature_of(body, secret=secret, at=at)
        return await self._client.post(path, content=body, headers=ours | dict(headers or {}))

    async def request(self, method: str, path: str) -> httpx.Response:
        return await self._client.request(method, path)

    async def close(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def receiving(
    inbox: Inbox,
    *,
    clock: Clock,
    platform: Followed[tuple[str, ...]] = PLATFORM_SECRETS,
    connect: Followed[tuple[str, ...]] = CONNECT_SECRETS,
    metrics: WebhookMetrics = UNCOUNTED,
) -> AsyncIterator[Sender]:
    """Serve the webhook endpoints of `inbox` on a free port while inside."""
    endpoints = endpoints_of("main", secrets=platform, connect_secrets=connect)
    webhooks = Webhooks(inbox, endpoints=endpoints, now=clock.now, metrics=metrics)
    async with serving(webhooks, listen="127.0.0.1:0") as port:
        sender = Sender(f"http://127.0.0.1:{port}", clock=clock, refusals=webhooks.refusals)
        try:
            yield sender
        finally:
            await sender.close()


def signature_of(body: bytes, *, secret: str, at: datetime) -> str:
    """Return the header that Stripe's package makes, also for bytes that are no text."""
    text = body.decode("latin-1")
    if text.isascii():
        return WebhookSignature.generate_signature_header(text, secret, int(at.timestamp()))
    signed = b"%d." % int(at.timestamp()) + body
    return f"t={int(at.timestamp())},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def event_of(held: Mapping[str, Any], event_type: str, *, at: datetime, **fields: Any) -> dict[str, Any]:
    """Return an event as Stripe renders it around an object."""
    return {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "api_version": stripe.api_version,
        "created": int(at.timestamp()),
        "data": {"object": dict(held)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": event_type,
    } | fields


async def stored(engine: AsyncEngine, event_id: str) -> Any:
    """Return an event's row in the inbox, or None."""
    async with reading(engine) as connection:
        return (
            await connection.execute(sa.text("SELECT * FROM events WHERE event_id = :event_id"), {"event_id": event_id})
        ).one_or_none()


async def count(engine: AsyncEngine, what: str) -> int:
    """Count rows, such as of `events` or of `event_runs WHERE …`."""
    async with reading(engine) as connection:
        return int(await connection.scalar(sa.text(f"SELECT count(*) FROM {what}")) or 0)

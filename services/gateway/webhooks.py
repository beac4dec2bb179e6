"""Where Stripe's webhooks arrive: `POST /webhooks/stripe` and `POST /webhooks/stripe/connect`.

Verify, store raw, answer 200; what an event leads to happens in a job, when Stripe has gone. Whatever is not a signed
event of Stripe's is answered 400 and changes nothing; a good one that could not be stored is answered 500, so that
Stripe sends it again.

The connection itself is protected by limits: size, time to read, connections at once. TLS ends before us.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.errors import DependencyUnavailable
from services.gateway import events, signature
from services.gateway.inbox import Inbox
from services.gateway.signature import WebhookRefused
from services.runtime import calls

PLATFORM_PATH: Final = "/webhooks/stripe"
CONNECT_PATH: Final = "/webhooks/stripe/connect"
BODY_BYTES_MAX: Final = 256 * 1024
"""Stripe's events are 2 to 20 KB."""
HEAD_BYTES_MAX: Final = 16 * 1024
HEAD_TIMEOUT_S: Final = 5.0
"""For the first request line and headers of a connection."""
BODY_TIMEOUT_S: Final = 10.0
KEEP_ALIVE_S: Final = 75
"""Longer than Stripe and the usual proxies keep an idle connection, so that they end it, and not we under a request."""
CONNECTIONS_MAX: Final = 1_000
"""Open at once; beyond it the answer is 503. Stripe's bursts stay below 100."""
STOP_GRACE_S: Final = 3.0
"""For requests under way when the process ends."""

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
    routes = [
        Route(endpoint.path, _Receiver(inbox, endpoint=endpoint, now=now).receive, methods=["POST"])
        for endpoint in endpoints
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return app


@contextlib.asynccontextmanager
async def serving(app: Starlette, *, listen: str) -> AsyncIterator[int]:
    """Serve `app` on `host:port` while inside and yield the port; port 0 takes a free one.

    At the end no connection is taken any more, and requests under way get `STOP_GRACE_S`.
    """
    with contextlib.closing(_listening(listen)) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(STOP_GRACE_S),
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            )
        )
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


def _listening(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    # Named as TCP, or asyncio leaves Nagle's algorithm on, and an answer waits 40 ms for Stripe's acknowledgement.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(CONNECTIONS_MAX)
    except OSError:
        listener.close()
        raise
    return listener


class _Receiver:
    """Takes what arrives at one endpoint."""

    def __init__(self, inbox: Inbox, *, endpoint: Endpoint, now: Callable[[], datetime]) -> None:
        self._inbox = inbox
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
            with calls.acting_for(endpoint.tenant_id, correlation=event.event_id):
                receipt = await self._inbox.receive(
                    event, body=body, tenant_id=endpoint.tenant_id, is_connect=endpoint.is_connect, now=now
                )
            fields["receipt"] = receipt.name
            response: Response = JSONResponse({"receipt": receipt.name})
        except WebhookRefused as refusal:
            level, fields["reason"] = logging.WARNING, refusal.reason
            response = _refused(400, refusal.reason)
        except _RequestRefused as refusal:
            level, fields["reason"] = logging.WARNING, refusal.reason
            response = _refused(refusal.status_code, refusal.reason)
        except DependencyUnavailable as error:
            level, fields["reason"], fields["cause"] = logging.ERROR, error.reason, repr(error.__cause__)[:200]
            response = _refused(500, error.reason)
        fields |= {"status": response.status_code, "duration_ms": round((time.perf_counter() - started) * 1000, 2)}
        _logger.log(level, "webhook", extra={"fields": fields})
        return response


class _RequestRefused(Exception):
    """The request is not one we read to its end."""

    def __init__(self, status_code: int, reason: str) -> None:
        super().__init__(reason)
        self.status_code = status_code
        self.reason = reason


def _refused(status_code: int, reason: str) -> Response:
    # Only Stripe keeps its connection: whoever is refused has to come again.
    return JSONResponse({"reason": reason}, status_code=status_code, headers={"connection": "close"})


async def _body_of(request: Request) -> bytes:
    """Return the raw body, as it was signed."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise _RequestRefused(415, "CONTENT_TYPE_NOT_JSON")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:12]) > BODY_BYTES_MAX:
        raise _RequestRefused(413, "BODY_TOO_LARGE")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise _RequestRefused(413, "BODY_TOO_LARGE")
    except TimeoutError:
        raise _RequestRefused(408, "BODY_TOO_SLOW") from None
    except ClientDisconnect:
        raise _RequestRefused(400, "BODY_CUT_OFF") from None
    return bytes(body)


class _Server(uvicorn.Server):
    """uvicorn inside a process that has its own idea of signals and of its end."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # uvicorn's own annotation is a generator's
        yield


class _Protocol(H11Protocol):
    """Closes a connection that does not get as far as its first request: uvicorn waits for it for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.loop.call_later(HEAD_TIMEOUT_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()

"""Where Stripe's webhooks arrive: `POST /webhooks/stripe` and `POST /webhooks/stripe/connect`.

Verify, store raw, answer 200; what an event leads to is due work, done when Stripe has gone. Whatever is not a signed
event of Stripe's is refused (`refusals.ANSWERS`) and changes nothing; a good one that could not be stored is answered
500, so that Stripe sends it again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final

from services.errors import DependencyUnavailable
from services.gateway.webhooks import events, signature
from services.gateway.webhooks.inbox import Inbox
from services.gateway.webhooks.metrics import FAILED, UNCOUNTED, WebhookMetrics
from services.gateway.webhooks.port import BODY_BYTES_MAX, Answer, Head
from services.gateway.webhooks.refusals import ANSWERS, Refusals
from services.gateway.webhooks.signature import WebhookRefused
from services.runtime.observability.tracing import Kind
from services.runtime.process.followed import Followed
from services.runtime.rpc import call_context

PLATFORM_PATH: Final = "/webhooks/stripe"
CONNECT_PATH: Final = "/webhooks/stripe/connect"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint as it is registered at Stripe: a path, and the secrets that are active for it."""

    path: str
    tenant_id: str
    is_connect: bool
    """It gets the events of connected accounts, and nothing else; any other endpoint gets none of those."""
    secrets: Followed[tuple[str, ...]]


def endpoints_of(
    tenant_id: str,
    *,
    secrets: Followed[tuple[str, ...]] | None,
    connect_secrets: Followed[tuple[str, ...]] | None = None,
) -> list[Endpoint]:
    """Return the endpoints of a tenant; one without a secret does not exist."""
    endpoints = []
    if secrets is not None:
        endpoints.append(Endpoint(path=PLATFORM_PATH, tenant_id=tenant_id, is_connect=False, secrets=secrets))
    if connect_secrets is not None:
        endpoints.append(Endpoint(path=CONNECT_PATH, tenant_id=tenant_id, is_connect=True, secrets=connect_secrets))
    return endpoints


class Webhooks:
    """What is behind the port: exactly the paths of `endpoints`."""

    def __init__(
        self,
        inbox: Inbox,
        *,
        endpoints: Sequence[Endpoint],
        now: Callable[[], datetime],
        metrics: WebhookMetrics = UNCOUNTED,
    ) -> None:
        self.refusals = Refusals()
        self._metrics = metrics
        self._inbox = inbox
        self._endpoints = {endpoint.path: endpoint for endpoint in endpoints}
        self._now = now

    def refusal(self, head: Head) -> Answer | None:
        """Return why a request is refused whatever its body is; None if it is not."""
        if head.path not in self._endpoints:
            return self.refused("PATH_UNKNOWN")
        if head.method != "POST":
            return self.refused("METHOD_NOT_ALLOWED")
        media_type = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            return self.refused("CONTENT_TYPE_NOT_JSON", head)
        announced = head.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:12]) > BODY_BYTES_MAX:
            return self.refused("BODY_TOO_LARGE", head)
        return None

    def refused(self, reason: str, head: Head | None = None) -> Answer:
        """Count a refusal, and return what is answered."""
        endpoint = None if head is None else self._endpoints.get(head.path)
        return self._refused(reason, endpoint, {} if endpoint is None else _fields(endpoint))

    async def receive(self, head: Head, body: bytes) -> Answer:
        """Verify and store an event, and say what became of it."""
        started = time.perf_counter()
        endpoint = self._endpoints[head.path]
        fields = _fields(endpoint)
        level = logging.INFO
        try:
            header = head.headers.get("stripe-signature")
            now = self._now()
            # Header bytes reach us as latin-1, so this gives back what was sent.
            signed = None if header is None else header.encode("latin-1")
            signature.verify(body, header=signed, secrets=endpoint.secrets.current(), now=now)
            event = events.read(body)
            fields |= {"correlation_id": event.event_id, "event_id": event.event_id, "event_type": event.type}
            # What the event leads to is found in the logs by the event's id.
            with call_context.following(
                endpoint.tenant_id, origin=None, correlation=event.event_id, name="webhook", kind=Kind.SERVER
            ) as said:
                said["batzen.event_type"] = event.type
                receipt = await self._inbox.receive(
                    event, body=body, tenant_id=endpoint.tenant_id, is_connect=endpoint.is_connect, now=now
                )
                fields |= call_context.log_fields()
            self._metrics.received(event.type, receipt.name.lower())
            fields["receipt"] = receipt.name
            answer = Answer(status=HTTPStatus.OK, body=_json(receipt=receipt.name))
        except WebhookRefused as refusal:
            return self._refused(refusal.reason, endpoint, fields)
        except DependencyUnavailable as error:
            self._metrics.received(str(fields.get("event_type")), FAILED)
            level, fields["reason"], fields["cause"] = logging.ERROR, error.reason, repr(error.__cause__)[:200]
            answer = _last(HTTPStatus.INTERNAL_SERVER_ERROR, error.reason)
        fields |= {"status": int(answer.status), "duration_ms": round((time.perf_counter() - started) * 1000, 2)}
        _logger.log(level, "webhook", extra={"fields": fields})
        return answer

    def _refused(self, reason: str, endpoint: Endpoint | None, fields: Mapping[str, object]) -> Answer:
        self._metrics.refused(reason, is_connect=None if endpoint is None else endpoint.is_connect)
        status, _ = ANSWERS[reason]
        self.refusals.note(reason, fields={**fields, "status": status} if status else fields)
        return _last(status, reason)


def _fields(endpoint: Endpoint) -> dict[str, object]:
    return {"method": f"POST {endpoint.path}", "tenant": endpoint.tenant_id}


def _last(status: int, reason: str) -> Answer:
    # Only Stripe keeps its connection: whoever is refused has to come again.
    headers = b"allow: POST\r\n" if status == HTTPStatus.METHOD_NOT_ALLOWED else b""
    return Answer(status=status, body=_json(reason=reason), is_last=True, headers=headers)


def _json(**values: str) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()

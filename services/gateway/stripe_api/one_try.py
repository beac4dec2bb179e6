"""One try of one call: what came back of it, and nothing concluded from it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import stripe

from services.gateway.errors import StripeRefused
from services.gateway.stripe_api import outcomes
from services.gateway.stripe_api.http_client import NEVER_SENT
from services.gateway.stripe_api.objects import text, told
from services.gateway.stripe_api.outcomes import Kind
from services.runtime.observability.tracing import Value
from services.shared.codec import Json

Send = Callable[[], Awaitable[Any]]
IsSound = Callable[[object], bool]
"""Whether a body is what was asked for."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """What came back from one try."""

    kind: Kind
    body: Any = None
    status: int | None = None
    is_replayed: bool = False
    stripe_request_id: str = ""
    may_try_again: bool = True
    error: Exception | None = None

    @property
    def is_denied(self) -> bool:
        """Whether the key may not do this."""
        return self.kind is Kind.NO_ACCESS and self.status == outcomes.DENIED

    @property
    def object(self) -> Json:
        """The object of an answer, or the intent of a decline."""
        found = outcomes.intent_in(self.body) if self.kind is Kind.DECLINE else self.body
        return cast("Json", found)


async def tried(send: Send, *, seconds: float, is_sound: IsSound) -> Got:
    """Try once, and return what came back."""
    try:
        async with asyncio.timeout(seconds):
            response = await send()
        headers = _headers(response.headers)
        return Got(
            kind=Kind.ANSWER if is_sound(response.data) else Kind.UNREADABLE,
            body=response.data,
            status=response.code,
            is_replayed=headers.get("idempotent-replayed") == "true",
            stripe_request_id=headers.get("request-id", ""),
        )
    except (stripe.APIConnectionError, TimeoutError) as error:
        kind = Kind.UNSENT if isinstance(error.__cause__, NEVER_SENT) else Kind.SILENCE
        return Got(kind=kind, error=error)
    except stripe.StripeError as error:
        headers = _headers(error.headers)
        kind = outcomes.kind_of_error(error.http_status, error.json_body)
        return Got(
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
        return Got(kind=Kind.UNREADABLE, error=error)


def told_to_span(got: Got, *, number: int, key: str | None) -> dict[str, Value]:
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


def refusal(got: Got) -> StripeRefused:
    """Return what a caller is told of a refusal."""
    error = outcomes.error_in(got.body) or {}
    declined = {"decline_code": text(error, "decline_code")} if error.get("decline_code") else {}
    return StripeRefused(
        code=text(error, "code") or text(error, "type") or f"http_{got.status}",
        param=text(error, "param"),
        detail=told(error.get("message")),
        **declined,
    )


def _headers(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in dict(headers or {}).items()}

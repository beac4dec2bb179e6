"""Requests about hosted pages as domain values, and what is answered as messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from batzen.gateway.v1 import checkout_pb2
from services.errors import FieldInvalid, FieldMissing, InvalidRequest
from services.gateway.checkout.create import CreateSessionParams
from services.gateway.checkout.lines import PageLine, check_lines
from services.gateway.checkout.locales import page_locale
from services.gateway.intents.create import CreateIntentParams
from services.gateway.intents.creation import IntentRequest
from services.gateway.intents.domain import Intent
from services.gateway.stripe_api import metadata
from services.gateway.wire.requests import intent_request
from services.gateway.wire.responses import timestamp
from services.runtime.database.idempotency import content_hash
from services.shared import fields

ROW_NAME_CHARACTERS_MAX: Final = 250
ROW_DESCRIPTION_CHARACTERS_MAX: Final = 500
"""As the contract says; a page shows no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What is asked of a new page: of its intent, and of itself."""

    intent: IntentRequest
    params_of: Callable[[CreateIntentParams], CreateSessionParams]
    """Adds what is of the page alone."""


def page_request(request: checkout_pb2.CreateCheckoutSessionRequest, *, tenant_id: str) -> PageRequest:
    """Read what is asked of a new page."""
    asked = _intent(request, tenant_id=tenant_id)
    lines = tuple(_line(one, number, asked.currency_code) for number, one in enumerate(request.lines))
    check_lines(lines, amount_minor=asked.amount_minor, currency_code=asked.currency_code, is_setup=asked.setup_only)
    success_url = fields.url(request.success_url, field="success_url")
    cancel_url = fields.url(request.cancel_url, field="cancel_url")
    session_metadata = metadata.checked(request.metadata, field="metadata")
    expire_time = _expire_time(request)

    def params_of(params: CreateIntentParams) -> CreateSessionParams:
        return CreateSessionParams.of(
            params,
            success_url=success_url,
            cancel_url=cancel_url,
            expire_time=expire_time,
            lines=lines,
            session_metadata=session_metadata or None,
            locale=page_locale(asked.locale),
        )

    return PageRequest(intent=asked, params_of=params_of)


def session_to_proto(page: Intent, *, url: str) -> checkout_pb2.CheckoutSession:
    """Return the message of an attempt's page, with its address where that is known."""
    state = f"STATE_{page.session_state or 'UNSPECIFIED'}"
    message = checkout_pb2.CheckoutSession(session_id=page.session_id, url=url, state=state)
    if page.session_expire_time is not None:
        message.expire_time.CopyFrom(timestamp(page.session_expire_time))
    return message


def _intent(request: checkout_pb2.CreateCheckoutSessionRequest, *, tenant_id: str) -> IntentRequest:
    """Read what is asked of the intent of a page; the hash is of all that is asked of both, but when it ends."""
    if not request.HasField("intent"):
        raise FieldMissing(field="intent")
    try:
        asked = intent_request(request.intent, tenant_id=tenant_id)
    except InvalidRequest as problem:
        if problem.field is not None:
            problem.field = f"intent.{problem.field}"
        raise
    return replace(asked, request_hash=asked.request_hash + content_hash(request, "intent", "expire_time"))


def _line(line: checkout_pb2.CheckoutLine, number: int, currency_code: str) -> PageLine:
    at = f"lines[{number}]"
    if not line.name.strip():
        raise FieldMissing(field=f"{at}.name")
    amount = fields.money(line.amount, is_set=line.HasField("amount"), field=f"{at}.amount", least_minor=0)
    if amount.currency_code != currency_code:
        raise FieldInvalid(field=f"{at}.amount.currency_code", detail="must be that of the amount")
    description = fields.text(
        line.description, field=f"{at}.description", characters_max=ROW_DESCRIPTION_CHARACTERS_MAX
    )
    return PageLine(
        name=fields.text(line.name, field=f"{at}.name", characters_max=ROW_NAME_CHARACTERS_MAX),
        amount_minor=amount.amount_minor,
        description=description,
    )


def _expire_time(request: checkout_pb2.CreateCheckoutSessionRequest) -> datetime | None:
    if not request.HasField("expire_time"):
        return None
    try:
        return request.expire_time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FieldInvalid(field="expire_time", detail="must be an instant of the years 1 to 9999") from None

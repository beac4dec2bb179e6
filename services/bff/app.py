"""The routes of the payer's front, and what stands around them."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from services.bff import checkout, events, sessions
from services.bff import webhooks as webhook
from services.bff.analytics import Analytics
from services.bff.api import application as api
from services.bff.api.answering import answer_error
from services.bff.api.modern import satisfaction
from services.bff.paths import RETURNS
from services.bff.settings import BffSettings
from services.bff.webhooks import Webhooks
from services.web.application import application
from services.web.front import Front
from services.web.rates import AddressRates


def build(front: Front, settings: BffSettings, analytics: Analytics, webhooks: Webhooks) -> ASGIApp:
    """Return the application of a running front."""

    async def answer(request: Request, error: Exception) -> Response:
        """Answer what the guard refuses as the room of its path would."""
        is_api = request.url.path.startswith(api.PREFIXES)
        return await (answer_error if is_api else front.answers.answer)(request, error)

    addresses = AddressRates(now=time.monotonic)
    return application(
        front,
        [
            *sessions.routes(front, settings),
            *events.routes(front),
            *webhooks.routes(),
            *api.routes(front, settings.tenants, addresses),
            *checkout.routes(front, settings, analytics),
        ],
        origins=settings.origins,
        answer=answer,
        addresses=addresses,
        exempt=frozenset({RETURNS, *webhook.PATHS}),
        body_limits=dict.fromkeys(webhook.PATHS, webhook.BODY_BYTES_MAX),
        uncounted=tuple(webhook.PATHS),
        any_name=frozenset({satisfaction.PATH}),
    )

"""The routes of the payer's front, and what stands around them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from services.bff import checkout
from services.bff.analytics import Analytics
from services.bff.api import application
from services.bff.settings import BffSettings
from services.web.assets import PREFIX
from services.web.front import Front
from services.web.measured import Measured
from services.web.security.guard import Guard


def build(front: Front, settings: BffSettings, analytics: Analytics) -> ASGIApp:
    """Return the application of a running front."""
    app = Starlette(
        routes=[
            Route("/livez", _alive, methods=["GET"]),
            Route(f"{PREFIX}/{{name:path}}", front.assets.endpoint, methods=["GET"]),
            *application.routes(front),
            *checkout.routes(front, settings, analytics),
        ]
    )
    guarded = Guard(
        app,
        own_origin=front.settings.public_origin,
        cookie_name=front.cookie.full_name,
        origins=settings.origins,
    )
    return Measured(guarded, meter=front.meter)


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")

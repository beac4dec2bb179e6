"""The routes of the operators' front, and what stands around them."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from services.console import payments
from services.console.desk import Desk
from services.console.login.issuer import Issuer
from services.console.login.routes import LogInRoom
from services.console.login.settings import LoginSettings
from services.console.operating import pages as operating
from services.web.assets import PREFIX
from services.web.failures import Refusal
from services.web.front import Front
from services.web.measured import Measured
from services.web.security.guard import Guard
from services.web.security.headers import Origins


def build(front: Front, login: LoginSettings, issuer: Issuer) -> ASGIApp:
    """Return the application of a running front."""
    desk = Desk(front)
    gate = LogInRoom(front, login, issuer)
    app = Starlette(
        routes=[
            Route("/livez", _alive, methods=["GET"]),
            Route("/", _home, methods=["GET"]),
            Route(f"{PREFIX}/{{name:path}}", front.assets.endpoint, methods=["GET"]),
            *gate.routes(),
            *payments.routes(desk),
            *operating.routes(desk),
        ],
        exception_handlers={Refusal: gate.refused},
    )
    guarded = Guard(app, own_origin=front.settings.public_origin, cookie_name=front.cookie.full_name, origins=Origins())
    return Measured(guarded, meter=front.meter)


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _home(_: Request) -> Response:
    return RedirectResponse("/payments", status_code=303)

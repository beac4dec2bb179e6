"""An application of a front: its rooms, what both fronts have, and the guard around it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from services.web.assets import PREFIX
from services.web.front import Front
from services.web.measured import Measured
from services.web.rates import AddressLimited, AddressRates
from services.web.security.guard import ALIVE, Answer, Guard
from services.web.security.headers import CSP_REPORT_PATH, Origins
from services.web.security.reports import Reports


def application(
    front: Front,
    rooms: Sequence[BaseRoute],
    *,
    origins: Origins,
    answer: Answer | None = None,
    handlers: Mapping[type[Exception], Answer] = MappingProxyType({}),
    addresses: AddressRates | None = None,
    uncounted: tuple[str, ...] = (),
    exempt: frozenset[str] = frozenset(),
    body_limits: Mapping[str, int] = MappingProxyType({}),
    any_name: frozenset[str] = frozenset(),
) -> ASGIApp:
    """Return the application with the routes of its rooms.

    `handlers` answer exceptions that a front answers otherwise; `addresses` count who asks, but for what is below
    `uncounted`. All else is as `Guard` has it.
    """
    app = Starlette(
        routes=[
            Route(ALIVE, _alive, methods=["GET"]),
            Route(f"{PREFIX}/{{name:path}}", front.assets.endpoint, methods=["GET"]),
            Route(CSP_REPORT_PATH, Reports(front.meter).endpoint, methods=["POST"]),
            *rooms,
        ],
        exception_handlers={**front.answers.handlers, **handlers},
    )
    limited = AddressLimited(app, addresses or AddressRates(now=time.monotonic), free=(ALIVE, f"{PREFIX}/", *uncounted))
    guarded = Guard(
        limited,
        own_origin=front.settings.public_origin,
        cookie_name=front.cookie.full_name,
        origins=origins,
        answer=answer or front.answers.answer,
        exempt=exempt | {CSP_REPORT_PATH},
        body_limits=body_limits,
        any_name=any_name,
    )
    return Measured(guarded, meter=front.meter)


async def _alive(_: Request) -> Response:
    return PlainTextResponse("ok\n")

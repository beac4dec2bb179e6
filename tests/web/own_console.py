"""A console of a test's own, in its process, over a running suite: with other settings, or another clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import aiohttp
import httpx
from starlette.types import ASGIApp

from local.ports import HOST, free_ports
from local.suite import Suite
from services.console.__main__ import COOKIE, HOME, SERVICE
from services.console.app import build
from services.console.login.issuer import Issuer
from services.console.operating.answers_reader import asking
from services.console.settings import ConsoleSettings
from services.runtime.process.settings import settings_from
from services.web.front import Front, building
from services.web.serving import serving
from services.web.sessions.domain import OPERATOR as LIMITS
from tests.eventually import WITHIN_S
from tests.web.logging_in import OPERATOR, logged_in

Make: TypeAlias = Callable[[Front], ASGIApp]


@asynccontextmanager
async def own_console(
    suite: Suite, *, make: Make | None = None, without: str = "", **changed: str
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield the browser of an operator at a console with changed settings, and `without` one; `make` makes another
    application of its parts.
    """
    ports = free_ports()
    url = f"http://{HOST}:{ports['console']}"
    places = {
        "BATZEN_LISTEN": f"{HOST}:{ports['console']}",
        "BATZEN_HEALTH_LISTEN": f"{HOST}:{ports['console-health']}",
        "BATZEN_METRICS_LISTEN": f"{HOST}:{ports['console-metrics']}",
        "BATZEN_PUBLIC_ORIGIN": url,
    }
    environment = {**suite.env_for("console"), **places, **changed}
    environment.pop(without, None)
    settings = settings_from(environment, ConsoleSettings.read)
    async with (
        logged_in(suite, OPERATOR) as browser,
        aiohttp.ClientSession() as client,
        building(settings.front, service=SERVICE, home=HOME, cookie_name=COOKIE, limits=LIMITS) as front,
        serving(
            make(front) if make else _whole(front, settings, client),
            listen=settings.front.process.listen,
            draining=front.draining,
        ),
        httpx.AsyncClient(base_url=url, cookies=browser.cookies, headers=browser.headers, timeout=WITHIN_S) as own,
    ):
        yield own


def _whole(front: Front, settings: ConsoleSettings, client: aiohttp.ClientSession) -> ASGIApp:
    return build(front, settings, Issuer(settings.login, client), None, asking(settings.bff_url, front, client))

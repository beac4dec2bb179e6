"""Serves every state of every page on this machine, with the headers that the fronts send, and nothing behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.ports import free_ports
from services.web.assets import PREFIX, Assets
from services.web.pages import Pages
from services.web.security.guard import Guard
from services.web.security.headers import Origins
from services.web.serving import serving
from tests.web.state import State

SERVICES: Final = Path(__file__).parents[2] / "services"
FRONTS: Final = ("bff", "console")


class Gallery:
    """All states, each at `/<front>/<state>?lang=<language>`."""

    def __init__(self, states: Mapping[str, State]) -> None:
        self._states = states
        self._assets = {front: Assets([SERVICES / "web" / "static", SERVICES / front / "static"]) for front in FRONTS}
        self._pages = {
            front: Pages([SERVICES / front / "templates", SERVICES / "web" / "templates"], assets=self._assets[front])
            for front in FRONTS
        }

    def text(self, name: str, language: str) -> str:
        """Return a state as its page."""
        state = self._states[name]
        return self._pages[state.front].render(state.template, state.values(language))

    async def page(self, request: Request) -> Response:
        """Answer with a state."""
        state = self._states[request.path_params["state"]]
        language = request.query_params.get("lang", "en")
        return self._pages[state.front].answer(request, state.template, state.values(language), kind=state.kind)

    async def asset(self, request: Request) -> Response:
        """Answer with a file of either front."""
        answer = await self._assets["bff"].endpoint(request)
        return answer if answer.status_code == 200 else await self._assets["console"].endpoint(request)

    async def nothing(self, _: Request) -> Response:
        """Take what pages report and ask for while they are open; nothing stands behind them here."""
        return Response(status_code=204)

    def app(self) -> Starlette:
        """Return the application."""
        return Starlette(
            routes=[
                Route("/state/{state}", self.page, methods=["GET"]),
                Route(f"{PREFIX}/{{name:path}}", self.asset, methods=["GET"]),
                Route("/{anything:path}", self.nothing, methods=["GET", "POST"]),
            ]
        )


@asynccontextmanager
async def rendered(states: Mapping[str, State]) -> AsyncIterator[str]:
    """Yield the address under which the states are served while inside."""
    own_origin = f"http://127.0.0.1:{free_ports()['bff']}"
    guard = Guard(Gallery(states).app(), own_origin=own_origin, cookie_name="none", origins=Origins(), answer=_refused)
    async with serving(guard, listen=own_origin.removeprefix("http://"), draining=asyncio.Event()):
        yield own_origin


async def _refused(_: Request, error: Exception) -> Response:
    raise error


def url_of(base: str, state: str, *, language: str = "en") -> str:
    """Return where a state is."""
    return f"{base}/state/{state}?lang={language}"

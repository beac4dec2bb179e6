"""What pages report: that they were shown, and that their script broke. Names alone, never a person or a card."""

from __future__ import annotations

import json
import logging
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.bff.analytics import Analytics
from services.bff.checkout.room import Room
from services.bff.metrics import BEACONS, PAGE_TROUBLES, PAGES
from services.web.security.guard import CORRELATION

NAMES: Final = frozenset({"page_shown"})
"""What a beacon may say; anything else is nothing."""
BYTES_MAX: Final = 1_024
TEXT_CHARACTERS_MAX: Final = 200
_logger = logging.getLogger(__name__)


class Beacons:
    """Takes reports; whoever sends them is told nothing."""

    def __init__(self, room: Room, analytics: Analytics) -> None:
        self._room = room
        self._analytics = analytics
        self._beacons = room.front.meter.counter(BEACONS)
        self._troubles = room.front.meter.counter(PAGE_TROUBLES)

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/beacons", self.beacon, methods=["POST"]),
            Route("/pay/{payment_id}/troubles", self.trouble, methods=["POST"]),
        ]

    async def beacon(self, request: Request) -> Response:
        """Count that a page was shown, unless the browser says that its person does not want that."""
        said = await _read(request)
        if request.headers.get("sec-gpc") != "1" and said.get("name") in NAMES:
            self._beacons.add(_page(said))
            session = await self._room.front.session(request.scope)
            if session is not None:
                page, now = _page(said), self._room.front.now()
                self._analytics.add(tenant_id=session.tenant_id, name=str(said["name"]), page=page, time=now)
        return Response(status_code=204)

    async def trouble(self, request: Request) -> Response:
        """Log that a page's script met an error; only of who has a session: nobody else fills the logs."""
        said = await _read(request)
        if said and await self._room.front.session(request.scope) is not None:
            self._troubles.add(_page(said))
            _logger.warning(
                "The script of a page met an error: %r on %s (%s)",
                str(said.get("what", ""))[:TEXT_CHARACTERS_MAX],
                _page(said),
                request.scope[CORRELATION],
            )
        return Response(status_code=204)


def _page(said: dict[str, object]) -> str:
    page = said.get("page")
    return page if isinstance(page, str) and page in PAGES else "other"


async def _read(request: Request) -> dict[str, object]:
    body = await request.body()
    if len(body) > BYTES_MAX:
        return {}
    try:
        said: object = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}

"""`/health`: limits as lights, and the processes behind them; asked again while one looks."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from services.console.desk import Desk, Visit
from services.console.operating.blocks import Later, Page
from services.console.operating.metrics_reader import MetricsReader
from services.console.operating.showing import show, show_part
from services.console.operating.views import health as views

SECTION: Final = "health"
NOW: Final = f"{views.PATH}/now"
EVERY_S: Final = 15


class HealthRoom:
    """The page, over what a reader keeps; without a reader it says so."""

    def __init__(self, reader: MetricsReader | None) -> None:
        self._reader = reader

    def routes(self, desk: Desk) -> list[BaseRoute]:
        """Return the routes of the page."""
        return [desk.route(views.PATH, self._page, here=SECTION), desk.route(NOW, self._now, here=SECTION)]

    async def _page(self, visit: Visit) -> Response:
        blocks = (Later(key="now", title="Limits", url=NOW, every_s=EVERY_S),) if self._reader else views.unknown()
        page = Page(
            title="Health",
            lead="How the suite keeps the limits that it was given, and which processes it is made of.",
            section=SECTION,
            blocks=blocks,
        )
        return show(visit, page)

    async def _now(self, visit: Visit) -> Response:
        found = views.unknown() if self._reader is None else views.health(self._reader.health(), now=visit.front.now())
        page = Page(title="Health", lead="", section=SECTION, blocks=found)
        return show_part(visit, page)

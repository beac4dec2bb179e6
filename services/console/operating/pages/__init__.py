"""The pages: what each asks of the services, and what its forms do."""

from __future__ import annotations

from starlette.routing import BaseRoute

from services.console.desk import Desk
from services.console.operating.metrics_reader import MetricsReader
from services.console.operating.pages import (
    attention,
    audit,
    dead_letters,
    disputes,
    figures,
    notifications,
    prices,
    reconciliation,
    sellers,
    stuck,
    webhooks,
)
from services.console.operating.pages.health import HealthRoom

ROOMS = (
    attention,
    stuck,
    dead_letters,
    disputes,
    reconciliation,
    sellers,
    prices,
    webhooks,
    notifications,
    figures,
    audit,
)


def routes(desk: Desk, reader: MetricsReader | None) -> list[BaseRoute]:
    """Return the routes of all of them."""
    rooms = [route for room in ROOMS for route in room.routes(desk)]
    return [*rooms, *HealthRoom(reader).routes(desk)]

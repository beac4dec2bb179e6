"""The pages: what each asks of the services, and what its forms do."""

from __future__ import annotations

from starlette.routing import BaseRoute

from services.console.desk import Desk
from services.console.operating.answers_reader import AnswersReader
from services.console.operating.metrics_reader import MetricsReader
from services.console.operating.pages import (
    attention,
    audit,
    dead_letters,
    disputes,
    notifications,
    prices,
    reconciliation,
    sellers,
    stuck,
    webhooks,
)
from services.console.operating.pages.figures import FiguresRoom
from services.console.operating.pages.health import HealthRoom

ROOMS = (
    attention,
    stuck,
    dead_letters,
    disputes,
    reconciliation,
    prices,
    webhooks,
    notifications,
    audit,
)


def routes(
    desk: Desk, reader: MetricsReader | None, answers: AnswersReader | None, *, onboarding_return_url: str
) -> list[BaseRoute]:
    """Return the routes of all of them."""
    rooms = [route for room in ROOMS for route in room.routes(desk)]
    return [
        *rooms,
        *sellers.routes(desk, onboarding_return_url),
        *FiguresRoom(answers).routes(desk),
        *HealthRoom(reader).routes(desk),
    ]

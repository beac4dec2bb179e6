"""The routes of the operators' front, and what stands around them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from services.console import actions, payments
from services.console.desk import Desk
from services.console.login.issuer import Issuer
from services.console.login.routes import LogInRoom
from services.console.operating import pages as operating
from services.console.operating.answers_reader import AnswersReader
from services.console.operating.metrics_reader import MetricsReader
from services.console.settings import ConsoleSettings
from services.web.application import application
from services.web.front import Front
from services.web.security.headers import Origins
from services.web.sessions.needed import LogInNeeded, MayOnlyRead


def build(
    front: Front,
    settings: ConsoleSettings,
    issuer: Issuer,
    reader: MetricsReader | None,
    answers: AnswersReader | None,
) -> ASGIApp:
    """Return the application of a running front; `reader` knows what the suite's processes count, `answers` what payers
    say of paying.
    """
    desk = Desk(front)
    gate = LogInRoom(front, settings.login, issuer)
    return application(
        front,
        [
            Route("/", _home, methods=["GET"]),
            *gate.routes(),
            *payments.routes(desk),
            *operating.routes(desk, reader, answers, onboarding_return_url=settings.onboarding_return_url),
            *actions.routes(desk, settings.limits),
        ],
        origins=Origins(),
        handlers=dict.fromkeys((LogInNeeded, MayOnlyRead), gate.refused),
    )


async def _home(_: Request) -> Response:
    return RedirectResponse("/payments", status_code=303)

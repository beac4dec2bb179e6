"""How a payer's browser comes to a session, and how it loses it.

The platform's back end asks for a one-time code with its own token (`hand_over.py`, `resource.py`), the browser brings
it (`entering.py`), and from then on has a cookie and nothing else. Banks and hosted pages send it to `returning.py`.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from services.bff.sessions.entering import Entering
from services.bff.sessions.hand_over import HandOvers
from services.bff.sessions.returning import Returning
from services.bff.settings import BffSettings
from services.web.front import Front


def routes(front: Front, settings: BffSettings) -> list[BaseRoute]:
    """Return the routes of this room."""
    entering = Entering(front, settings.tenants, HandOvers(front.held, now=front.now))
    return [*entering.routes(), *Returning(front).routes()]

"""The checkout page: what a payer sees of a payment, and what they may do about it.

Answers of the services become the view models of `model.py` (`steps.py`, `standing.py`, `receipts.py`, `messages.py`);
the templates know nothing else. `pages.py` and `actions.py` ask and answer. Nothing here decides how a payment stands:
every page is of a revision that status wrote.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from services.bff.analytics import Analytics
from services.bff.checkout.actions import CheckoutActions
from services.bff.checkout.beacons import Beacons
from services.bff.checkout.pages import CheckoutPages
from services.bff.checkout.public import PublicPages
from services.bff.checkout.room import Room
from services.bff.checkout.satisfaction import Satisfaction
from services.bff.settings import BffSettings
from services.web.front import Front


def routes(front: Front, settings: BffSettings, analytics: Analytics) -> list[BaseRoute]:
    """Return the routes of this room."""
    room = Room(front, settings)
    satisfaction = Satisfaction(front.held, meter=front.meter, now=front.now)
    return [
        *CheckoutPages(room, satisfaction).routes(),
        *CheckoutActions(room, satisfaction).routes(),
        *Beacons(room, analytics).routes(),
        *PublicPages(room).routes(),
    ]

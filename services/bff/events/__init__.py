"""Streams to payers: how one payment, or up to twenty, go on, told while it happens.

All streams of the process share the one `WatchMany` stream of its client; each has a place of its own in the history
of its payment, so a browser that comes back goes on after what it saw, here or at another process.
"""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from services.bff.events.many import ManyEvents
from services.bff.events.one import OneEvents
from services.bff.events.told import Frames
from services.web.front import Front


def routes(front: Front) -> list[BaseRoute]:
    """Return the routes of this room."""
    frames = Frames()
    return [
        Route("/v1/payments/{payment_id}/events", OneEvents(front, frames), methods=["GET"]),
        Route("/v1/events", ManyEvents(front, frames), methods=["GET"]),
    ]

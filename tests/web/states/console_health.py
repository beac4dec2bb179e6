"""The health of the suite in the console, in each of its states."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from services.console.operating.blocks import Block, Later, Page
from services.console.operating.metrics_reader import Health, Process
from services.console.operating.pages.health import EVERY_S
from services.console.operating.views import health
from tests.web.states.console_pages import NOW, state

COUNTS: Final = {
    "errors": 131.0,
    "state_all": 900.0,
    "state_good": 897.0,
    "start_all": 400.0,
    "start_good": 388.0,
    "read_all": 5_000.0,
    "read_good": 4_400.0,
    "streams_all": 40.0,
    "streams_good": 40.0,
    "update_all": 910.0,
    "update_good": 910.0,
}
PROCESSES: Final = (
    Process(service="orchestrator", address="10.0.0.4:9090", version="0.9.0", is_ready=True, in_flight=3),
    Process(service="status", address="10.0.0.5:9090", version="0.9.0", is_ready=True, streams=412, in_flight=12),
    Process(service="status", address="10.0.0.6:9090", version="0.9.0", streams=0),
    Process(service="gateway", address="10.0.0.7:9090", problem="Cannot connect to host 10.0.0.7:9090"),
)


def _page(*blocks: Block) -> Page:
    lead = "How the suite keeps the limits that it was given, and which processes it is made of."
    return Page(title="Health", lead=lead, section="health", blocks=blocks)


STATES: Final = {
    # What comes later stays away here: its address leads nowhere.
    "health-loading": state(_page(Later(key="now", title="Limits", url="", every_s=EVERY_S))),
    "health": state(
        _page(
            *health.health(
                Health(
                    processes=PROCESSES, counts=COUNTS, length=timedelta(minutes=15), asked=NOW - timedelta(seconds=9)
                ),
                now=NOW,
            )
        )
    ),
    "health-first": state(
        _page(*health.health(Health(processes=(), counts={}, length=timedelta(), asked=None), now=NOW))
    ),
    "health-unknown": state(_page(*health.unknown())),
}

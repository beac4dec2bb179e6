"""A payer's front of a test's own, in its process, over a running suite: with other services behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from local.ports import HOST, free_ports
from local.suite import Suite
from services.bff.__main__ import COOKIE, HOME, SERVICE, read_settings
from services.bff.analytics import passing_on
from services.bff.app import build
from services.bff.webhooks import handing_on
from services.runtime.process.settings import settings_from
from services.web.front import building
from services.web.serving import serving
from services.web.sessions.domain import PAYER as LIMITS


@asynccontextmanager
async def own_bff(suite: Suite, **changed: str) -> AsyncIterator[str]:
    """Yield the address of a front with changed settings, which knows the sessions of the suite's own."""
    ports = free_ports()
    url = f"http://{HOST}:{ports['bff']}"
    places = {
        "BATZEN_LISTEN": f"{HOST}:{ports['bff']}",
        "BATZEN_HEALTH_LISTEN": f"{HOST}:{ports['bff-health']}",
        "BATZEN_METRICS_LISTEN": f"{HOST}:{ports['bff-metrics']}",
        "BATZEN_PUBLIC_ORIGIN": url,
    }
    settings = settings_from({**suite.env_for("bff"), **places, **changed}, read_settings)
    async with (
        building(settings.front, service=SERVICE, home=HOME, cookie_name=COOKIE, limits=LIMITS) as front,
        passing_on(settings.analytics_url, meter=front.meter) as analytics,
        handing_on(settings.webhook_target) as webhooks,
        serving(
            build(front, settings, analytics, webhooks),
            listen=settings.front.process.listen,
            draining=front.draining,
        ),
    ):
        yield url

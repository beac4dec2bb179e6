"""Builds the front and runs it: `python -m services.bff` serves, `python -m services.bff migrate` migrates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from services.bff.analytics import passing_on
from services.bff.app import build
from services.bff.settings import BffSettings
from services.bff.webhooks import handing_on
from services.runtime.process.lifecycle import until_terminated
from services.runtime.process.program import Program
from services.runtime.process.settings import Reader
from services.web.front import being_ready, building
from services.web.serving import serving
from services.web.sessions.domain import PAYER

SERVICE: Final = "bff"
HOME: Final = Path(__file__).parent
COOKIE: Final = "batzen"


def read_settings(read: Reader) -> BffSettings:
    """Read the settings."""
    return BffSettings.read(read, listen="127.0.0.1:7080", issuer=SERVICE)


async def serve(settings: BffSettings) -> None:
    """Serve until the process is terminated."""
    settings.front.process.arm()
    with settings.front.process.observed(SERVICE):
        async with (
            building(settings.front, service=SERVICE, home=HOME, cookie_name=COOKIE, limits=PAYER) as front,
            passing_on(settings.analytics_url, meter=front.meter) as analytics,
            handing_on(settings.webhook_target) as webhooks,
            serving(
                build(front, settings, analytics, webhooks),
                listen=settings.front.process.listen,
                draining=front.draining,
                trusted_proxies=settings.front.trusted_proxies,
                parting_s=settings.front.parting_s,
            ),
            being_ready(front),
        ):
            await until_terminated()


PROGRAM: Final = Program(service=SERVICE, migrations=HOME / "migrations", read=read_settings, serve=serve)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])

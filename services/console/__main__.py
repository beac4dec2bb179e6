"""Builds the front and runs it: `python -m services.console` serves, `python -m services.console migrate` migrates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import aiohttp

from services.console.app import build
from services.console.login.issuer import Issuer
from services.console.operating.answers_reader import asking
from services.console.operating.metrics_reader import reading
from services.console.settings import ConsoleSettings
from services.runtime.process.lifecycle import until_terminated
from services.runtime.process.program import Program
from services.web.front import being_ready, building
from services.web.serving import serving
from services.web.sessions.domain import OPERATOR

SERVICE: Final = "console"
HOME: Final = Path(__file__).parent
COOKIE: Final = "batzen_console"


async def serve(settings: ConsoleSettings) -> None:
    """Serve until the process is terminated."""
    process = settings.front.process
    process.arm()
    with process.observed(SERVICE):
        async with (
            aiohttp.ClientSession() as client,
            building(settings.front, service=SERVICE, home=HOME, cookie_name=COOKIE, limits=OPERATOR) as front,
            reading(settings.metrics_sources, front=front, client=client) as reader,
            serving(
                build(front, settings, Issuer(settings.login, client), reader, asking(settings.bff_url, front, client)),
                listen=process.listen,
                draining=front.draining,
                trusted_proxies=settings.front.trusted_proxies,
                parting_s=settings.front.parting_s,
            ),
            being_ready(front),
        ):
            await until_terminated()


PROGRAM: Final = Program(service=SERVICE, migrations=HOME / "migrations", read=ConsoleSettings.read, serve=serve)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])

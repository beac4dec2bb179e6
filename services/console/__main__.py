"""Builds the front and runs it: `python -m services.console` serves, `python -m services.console migrate` migrates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from services.console.app import build
from services.runtime.process.lifecycle import until_terminated
from services.runtime.process.program import Program
from services.runtime.process.settings import Reader
from services.web.front import building
from services.web.serving import serving
from services.web.sessions.domain import OPERATOR
from services.web.settings import FrontSettings

SERVICE: Final = "console"
HOME: Final = Path(__file__).parent
COOKIE: Final = "batzen_console"


def read_settings(read: Reader) -> FrontSettings:
    """Read the settings."""
    return FrontSettings.read(read, listen="127.0.0.1:7090", issuer=SERVICE)


async def serve(settings: FrontSettings) -> None:
    """Serve until the process is terminated."""
    settings.process.arm()
    with settings.process.observed(SERVICE):
        async with (
            building(settings, service=SERVICE, home=HOME, cookie_name=COOKIE, limits=OPERATOR) as front,
            serving(build(front), listen=settings.process.listen, draining=front.draining),
        ):
            await until_terminated()


PROGRAM: Final = Program(service=SERVICE, migrations=HOME / "migrations", read=read_settings, serve=serve)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])

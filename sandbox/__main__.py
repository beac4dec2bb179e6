"""`python -m sandbox`: serve the Stripe stand-in with settings from the environment."""

import asyncio
import os
import sys

from sandbox.serving import serve
from sandbox.settings import Settings


def main() -> None:
    try:
        settings = Settings.from_environ(os.environ)
    except ValueError as mistake:
        sys.exit(str(mistake))
    asyncio.run(serve(settings))


main()

"""`python -m sandbox`: serve the Stripe stand-in with settings from the environment."""

import os
import sys

import uvloop

from sandbox.serving import serve
from sandbox.settings import Settings


def main() -> None:
    """Serve until asked to end; exits with 1 and a line that says why if that cannot be."""
    try:
        uvloop.run(serve(Settings.from_environ(os.environ)))
    except (OSError, ValueError) as mistake:
        sys.exit(f"The sandbox cannot run: {mistake}")


if __name__ == "__main__":
    main()

"""`batzen token`: what a program of yours shows to the services."""

from __future__ import annotations

from typing import Final

import typer

from batzen.cli.output import tell_token

EPILOG: Final = """Example:

export BATZEN_TOKEN=$(batzen --as service token)"""


def token(context: typer.Context) -> None:
    """Print the token that commands use, for a program of yours."""
    tell_token(context.obj)

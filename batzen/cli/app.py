"""The command line: the options in front of the command, and the commands of the table."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batzen.cli.commands import Root
from batzen.cli.session import Session

if TYPE_CHECKING:
    from batzen.cli.connection import Connection

EPILOG = """Where the suite is and who asks: options here, else BATZEN_TOKEN and
BATZEN_ORCHESTRATOR_ADDRESS and its like, else the file .batzen/connection.json that `make up` writes, in this folder or
one above. A suite with mutual TLS also asks for BATZEN_TLS_CERTIFICATE, BATZEN_TLS_KEY and BATZEN_TLS_AUTHORITY, files.

In a checkout `batzen` is `.batzen/venv/bin/batzen`. To type `batzen` alone: export PATH="$PWD/.batzen/venv/bin:$PATH"

Exit codes: 0 done; 1 the payment did not end as wanted, or was refused; 2 wrong usage; 3 nothing answers."""

app = typer.Typer(
    name="batzen",
    cls=Root,
    help="Take and watch payments of a batzen suite from the command line.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


class Role(StrEnum):
    """Whose token to use of those that `make up` wrote."""

    OPERATOR = "operator"
    SERVICE = "service"
    PAYER = "payer"
    SELLER = "seller"


def _tell_version(asked: bool) -> None:
    if asked:
        from batzen.version import build  # noqa: PLC0415 asked for once in a while

        typer.echo(f"batzen {build()}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Option("--connection", metavar="FILE", show_default=False, help="What `make up` wrote.")
    ] = None,
    role: Annotated[
        Role, typer.Option("--as", metavar="ROLE", help=f"Which token of that file to use: {', '.join(Role)}.")
    ] = Role.OPERATOR,
    token: Annotated[str | None, typer.Option(show_default=False, help="A bearer token.")] = None,
    orchestrator: Annotated[str | None, typer.Option(metavar="HOST:PORT", show_default=False)] = None,
    pricing: Annotated[str | None, typer.Option(metavar="HOST:PORT", show_default=False)] = None,
    status: Annotated[str | None, typer.Option(metavar="HOST:PORT", show_default=False)] = None,
    gateway: Annotated[str | None, typer.Option(metavar="HOST:PORT", show_default=False)] = None,
    version: Annotated[  # noqa: ARG001 its callback reads it
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Version and commit, and no more.")
    ] = False,
) -> None:
    """Take the options in front of the command; what they say is looked up when the command needs it."""
    addresses = {"orchestrator": orchestrator, "pricing": pricing, "status": status, "gateway": gateway}

    def connect() -> Connection:
        from batzen.cli.connection import find  # noqa: PLC0415 help and version need no client

        return find(environ=os.environ, file=file, role=role.value, token=token, addresses=addresses)

    context.obj = Session(connect=connect)


def main() -> None:
    """Run the command line."""
    app()

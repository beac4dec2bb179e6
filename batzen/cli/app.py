"""The commands together. In a checkout `up` and `demo` join them; they are no part of what callers install."""

from __future__ import annotations

import importlib
import importlib.util
import os
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import batzen
from batzen.cli import (
    actions,
    attempts,
    attention,
    changing,
    coming_back,
    connection,
    dead_letters,
    disputes,
    doctor,
    erasing,
    figures,
    finding,
    hooks,
    importing,
    ledger,
    logs,
    mails,
    methods,
    moving,
    notifications,
    pay,
    policies,
    reading,
    receivables,
    reconciling,
    sellers,
    starts,
    stuck,
    transfers,
)
from batzen.cli.output import Session, tell_token
from batzen.version import build

EPILOG = """Where the suite is and who asks: options here, else BATZEN_TOKEN and
BATZEN_ORCHESTRATOR_ADDRESS and its like, else the file .batzen/connection.json that `make up` writes, in this folder or
one above. A suite with mutual TLS also asks for BATZEN_TLS_CERTIFICATE, BATZEN_TLS_KEY and BATZEN_TLS_AUTHORITY, files.

In the examples `batzen` is short for `python -m batzen`; in a checkout that is `.batzen/venv/bin/python -m batzen`.

Exit codes: 0 done; 1 the payment did not end as wanted, or was refused; 2 wrong usage; 3 nothing answers."""

app = typer.Typer(
    name="batzen",
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
        typer.echo(f"batzen {build()}")
        raise typer.Exit


@app.callback()
def connect(
    context: typer.Context,
    *,
    file: Annotated[
        Path | None, typer.Option("--connection", metavar="FILE", show_default=False, help="What `make up` wrote.")
    ] = None,
    role: Annotated[Role, typer.Option("--as", help="Which token of that file to use.")] = Role.OPERATOR,
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
    context.obj = Session(
        connect=partial(
            connection.find, environ=os.environ, file=file, role=role.value, token=token, addresses=addresses
        )
    )


app.command(epilog=pay.EPILOG)(pay.pay)
app.command(epilog=reading.WATCH_EPILOG)(reading.watch)
app.command("list", epilog=reading.LIST_EPILOG)(reading.list_payments)
app.command(epilog=finding.FIND_EPILOG)(finding.find)
app.command(epilog=reading.QUOTE_EPILOG)(reading.quote)
app.command(epilog=moving.CAPTURE_EPILOG)(moving.capture)
app.command(epilog=moving.CANCEL_EPILOG)(moving.cancel)
app.command(epilog=moving.RETRY_EPILOG)(moving.retry)
app.command(epilog=moving.RESCHEDULE_EPILOG)(moving.reschedule)
app.command(epilog=coming_back.PRESERVE_EPILOG)(coming_back.preserve)
app.command(epilog=coming_back.RESUME_EPILOG)(coming_back.resume)
app.command("attach-booking", epilog=finding.ATTACH_EPILOG)(finding.attach_booking)
app.command(epilog=changing.REFUND_EPILOG)(changing.refund)
app.add_typer(methods.app, name="methods")
app.add_typer(sellers.app, name="sellers")
app.add_typer(transfers.app, name="transfers")
app.add_typer(receivables.app, name="receivables")
app.add_typer(policies.app, name="policies")
app.add_typer(disputes.app, name="disputes")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(ledger.app, name="ledger")
app.command(epilog=erasing.EPILOG)(erasing.erase_payer)
app.command(epilog=reconciling.EPILOG)(reconciling.reconcile)
app.command(epilog=doctor.EPILOG)(doctor.doctor)
app.command("import", epilog=importing.EPILOG)(importing.import_records)
app.add_typer(notifications.app, name="notifications")
app.add_typer(starts.app, name="starts")
app.add_typer(mails.app, name="mails")
app.command(epilog=stuck.STUCK_EPILOG)(stuck.stuck)
app.command(epilog=stuck.RESOLVE_EPILOG)(stuck.resolve)
app.add_typer(attention.app, name="attention")
app.command(epilog=actions.EPILOG)(actions.actions)
app.command(epilog=attempts.ATTEMPTS_EPILOG)(attempts.attempts)
app.command(epilog=attempts.EVENTS_EPILOG)(attempts.events)
app.command(epilog=figures.EPILOG)(figures.figures)
app.add_typer(hooks.app, name="hooks")
app.command(epilog=logs.EPILOG)(logs.logs)


@app.command(epilog="Example:\n\nexport BATZEN_TOKEN=$(python -m batzen --as service token)")
def token(context: typer.Context) -> None:
    """Print the token that commands use, for a program of yours."""
    tell_token(context.obj)


def main() -> None:
    """Run the command line."""
    _join_local_commands()
    app()


def _join_local_commands() -> None:
    """Add `up` and `demo` when this package lies in a checkout, beside the folder that knows how."""
    checkout = Path(batzen.__file__).resolve().parents[1]
    found = importlib.util.find_spec("local")
    if found is not None and found.origin is not None and Path(found.origin).resolve().parents[1] == checkout:
        importlib.import_module("local.commands").register(app)

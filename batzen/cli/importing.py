"""`batzen import`: records of a system before, from a file of one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batzen.cli import options
from batzen.cli.output import Exit, call

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

EPILOG: Final = """Examples:

batzen import records.jsonl --dry-run      (says what would come of each record, and keeps nothing)

batzen import records.jsonl                (a run that was interrupted goes on where it was)

batzen import records.jsonl --json > report.jsonl

What a record says is in docs/import.md. Exit code 0 when each record is here; 1 when some were refused."""


def import_records(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="One JSON object a line.", show_default=False),
    ],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would come of each record; keep nothing.")
    ] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Read the whole file again, also where a run before got further.")
    ] = False,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Take over payments, customers and sellers of a system before. Nothing is charged, moved or told."""

    async def work(client: Client, _: Connection) -> Exit:
        from batzen.cli.import_run import Run  # noqa: PLC0415 help needs no loop and no client, and starts faster

        run = Run(client, file, dry_run=dry_run, actor_id=options.actor_id(actor), as_json=as_json)
        return await run.whole(from_start=from_start)

    call(context, work, as_json=as_json)

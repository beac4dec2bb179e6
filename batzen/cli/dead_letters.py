"""`batzen dead-letters`: what the gateway gave up, for operators to see and have done again."""

from __future__ import annotations

import getpass
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen.cli import options
from batzen.cli.connection import Connection
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.client import Client, new_request_id
from batzen.gateway.v1.ops_pb2 import DeadLetter, ListDeadLettersRequest, ReplayDeadLettersRequest

LIST_EPILOG: Final = """Examples:

batzen dead-letters list

batzen dead-letters list --limit 200 --json"""
REPLAY_EPILOG: Final = """Examples:

batzen dead-letters replay events/pi_…

batzen dead-letters replay events/pi_… deliveries/pay_… --actor anna

Exit code 0 when all of them went through."""
PAGE_MAX: Final = 200

app = typer.Typer(help="What was given up after its last try.", no_args_is_help=True)


@app.command("list", epilog=LIST_EPILOG)
def list_dead_letters(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the oldest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List what could not be processed or delivered, with what went wrong last."""

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.gateway_ops.ListDeadLetters(ListDeadLettersRequest(page_size=limit))
        if as_json:
            print_json([as_document(letter) for letter in answer.dead_letters])
        elif answer.dead_letters:
            table = Table(box=None, pad_edge=False, header_style="dim")
            for title in ("dead letter", "since", "about", "tries", "last error"):
                table.add_column(title, overflow="fold")
            for letter in answer.dead_letters:
                table.add_row(
                    Text(letter.dead_letter_id, style="bold"),
                    letter.hold_time.ToDatetime().isoformat(sep=" ", timespec="seconds"),
                    _about(letter),
                    str(letter.attempt_count),
                    letter.last_error,
                )
            console.print(table)
            if answer.next_page_token:
                console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        else:
            console.print("Nothing was given up.")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("replay", epilog=REPLAY_EPILOG)
def replay(
    context: typer.Context,
    *,
    dead_letter_ids: Annotated[
        list[str], typer.Argument(metavar="DEAD_LETTER_ID", help="As `list` shows them.", show_default=False)
    ],
    actor: Annotated[
        str, typer.Option(metavar="ACTOR_ID", show_default="who you are on this machine", help="Who decided.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Try dead letters again, now, with fresh tries, and say what came of each."""

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.gateway_ops.ReplayDeadLetters(
            ReplayDeadLettersRequest(
                request_id=new_request_id(),
                dead_letter_ids=dead_letter_ids,
                actor_id=actor or f"cli:{getpass.getuser()}",
            )
        )
        if as_json:
            print_json(as_document(answer))
        else:
            for outcome in answer.outcomes:
                came = Text("went through", style="green") if outcome.succeeded else Text(outcome.error, style="red")
                console.print(Text.assemble((outcome.dead_letter_id, "bold"), "   ", came))
        return Exit.OK if all(outcome.succeeded for outcome in answer.outcomes) else Exit.NOT_AS_WANTED

    call(context, work, as_json=as_json)


def _about(letter: DeadLetter) -> str:
    parts = (letter.subject_type, letter.subject_id, letter.payment_id)
    return " ".join(part for part in dict.fromkeys(parts) if part)

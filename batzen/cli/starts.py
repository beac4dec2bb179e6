"""`batzen starts`: whether new payments are taken, for operators to see and to say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import options
from batzen.cli.command_classes import Commands
from batzen.cli.moments import read_span
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.orchestrator.v1.ops_pb2 import (
    ListStartSwitchesRequest,
    PauseStartsRequest,
    ResumeStartsRequest,
    StartSwitch,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

PAUSE_EPILOG: Final = """Examples:

batzen starts pause --reason "prices are wrong" --message "We are back at noon." --for 2h

batzen starts pause --reason "INC-7"

What was started goes on; `batzen starts resume` takes new payments again, which nothing does by itself."""
RESUME_EPILOG: Final = """Example:

batzen starts resume --reason "prices are right again"

From then on new payments are taken."""
SHOW_EPILOG: Final = """Example:

batzen starts show --limit 3

Exit code 0 if new payments are taken, 1 if they are stopped."""
PAGE_MAX: Final = 200

app = Commands(help="Whether new payments are taken.")
Reason = Annotated[str, typer.Option(help="Why, for operators.", show_default=False)]


@app.command(epilog=PAUSE_EPILOG)
def pause(
    context: typer.Context,
    *,
    reason: Reason,
    message: Annotated[str, typer.Option(help="What payers may be shown.", show_default=False)] = "",
    expected: Annotated[
        timedelta | None,
        typer.Option(
            "--for",
            metavar="SPAN",
            parser=read_span,
            show_default=False,
            help="How long it is expected to take: 30m, 2h, 1d. For people: nothing happens then by itself.",
        ),
    ] = None,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Take no new payments until further notice. What was started goes on."""

    async def work(client: Client, _: Connection) -> Exit:
        end = None
        if expected is not None:
            end = Timestamp()
            end.FromDatetime(datetime.now(UTC) + expected)
        request = PauseStartsRequest(
            request_id=new_request_id(),
            actor_id=options.actor_id(actor),
            reason=reason,
            public_message=message,
            expected_end_time=end,
        )
        _tell([(await client.orchestrator_ops.PauseStarts(request)).start_switch], as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=RESUME_EPILOG)
def resume(context: typer.Context, *, reason: Reason, actor: options.Actor = "", as_json: options.Json = False) -> None:
    """Take new payments again."""

    async def work(client: Client, _: Connection) -> Exit:
        request = ResumeStartsRequest(request_id=new_request_id(), actor_id=options.actor_id(actor), reason=reason)
        _tell([(await client.orchestrator_ops.ResumeStarts(request)).start_switch], as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=SHOW_EPILOG)
def show(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 10,
    as_json: options.Json = False,
) -> None:
    """Show whether new payments are taken, and what was said of them before."""

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.ListStartSwitches(ListStartSwitchesRequest(page_size=limit))
        switches = list(answer.start_switches)
        _tell(switches, as_json=as_json)
        return Exit.NOT_AS_WANTED if switches and switches[0].paused else Exit.OK

    call(context, work, as_json=as_json)


def _tell(switches: list[StartSwitch], *, as_json: bool) -> None:
    if as_json:
        print_json([as_document(one) for one in switches])
        return
    is_paused = bool(switches) and switches[0].paused
    console.print(
        Text("New payments are stopped.", style="red") if is_paused else Text("New payments are taken.", style="green")
    )
    if not switches:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("since", "starts", "by", "why", "payers are told", "expected until"):
        table.add_column(title, overflow="fold")
    for one in switches:
        table.add_row(
            _shown(one.create_time),
            "stopped" if one.paused else "taken",
            one.actor_id,
            one.reason,
            one.public_message,
            _shown(one.expected_end_time) if one.HasField("expected_end_time") else "",
        )
    console.print(table)


def _shown(instant: Timestamp) -> str:
    return instant.ToDatetime().isoformat(sep=" ", timespec="seconds")

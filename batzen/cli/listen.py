"""`batzen listen`: Stripe's events as they come in, and what becomes of each."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batzen.cli import moments, options
from batzen.cli.attempts import event_lines
from batzen.cli.event_looks import Looks
from batzen.cli.output import Exit, as_document, call, console, error_console, print_json_line
from batzen.gateway.v1 import ops_pb2 as pb

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

EPILOG: Final = """Examples:

batzen listen

batzen listen --payment pay_…

batzen listen --type charge.refunded --json   (a JSON document a line)

batzen listen --since 10m --count 5           (what came lately, and 5 in all)

An event has a line when it comes in, and one more when it was applied, ignored or parked. Ctrl-C ends it. The states of
one payment are what `batzen watch` shows."""
LOOK_S: Final = 0.5
"""Between two looks: the gateway keeps events in a table, and sends none on to people."""
AWAY_S: Final = 60.0
"""How long a gateway that does not answer is waited for."""


def listen(
    context: typer.Context,
    *,
    payment: Annotated[str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="Only of this payment.")] = "",
    type_: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only of this type; may be repeated, 20 times.")
    ] = None,
    since: Annotated[
        timedelta,
        typer.Option(metavar="SPAN", parser=moments.read_span, help="Begin with what came in since: 10s, 10m, 2h."),
    ] = "1s",  # type: ignore[assignment]
    count: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="End after so many lines; otherwise Ctrl-C does.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show Stripe's events as they come in, and what becomes of each."""

    async def work(client: Client, _: Connection) -> Exit:
        import asyncio  # noqa: PLC0415 help needs neither, and starts faster

        from batzen.errors import Unavailable  # noqa: PLC0415

        if not as_json:
            error_console.print("Waiting for events; Ctrl-C ends it.", style="dim")
        begin, shown = datetime.now(UTC) - since, 0
        looks = Looks(client.gateway_ops.ListWebhookEvents, begin=begin, payment_id=payment, types=type_ or [])
        answered = time.monotonic()
        for _look in itertools.count():  # until the person ends it
            try:
                news = await looks.look()
                answered = time.monotonic()
            except Unavailable:
                if time.monotonic() - answered > AWAY_S:
                    raise
                news = []
            for one in news:
                _show(one, as_json=as_json)
                shown += 1
                if shown == count:
                    return Exit.OK
            await asyncio.sleep(LOOK_S)
        return Exit.OK

    call(context, work, as_json=as_json)


def _show(one: pb.WebhookEvent, *, as_json: bool) -> None:
    if as_json:
        print_json_line(as_document(one))
        return
    for line in event_lines(one):
        console.print(line, soft_wrap=True)

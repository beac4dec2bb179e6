"""`batzen listen`: Stripe's events as they come in, and what becomes of each."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from batzen.cli import moments, options
from batzen.cli.attempts import event_lines
from batzen.cli.connection import Connection
from batzen.cli.output import Exit, as_document, call, console, error_console, print_json_line
from batzen.client import Client
from batzen.errors import Unavailable
from batzen.gateway.v1 import ops_pb2 as pb

EPILOG: Final = """Examples:

batzen listen

batzen listen --payment pay_…

batzen listen --type charge.refunded --json   (a JSON document a line)

batzen listen --since 10m --count 5           (what came lately, and 5 in all)

An event has a line when it comes in, and one more when it was applied, ignored or parked. Ctrl-C ends it. The states of
one payment are what `batzen watch` shows."""
LOOK_S: Final = 0.5
"""Between two looks: the gateway keeps events in a table, and sends none on to people."""
OVERLAP: Final = timedelta(seconds=30)
"""Each look begins so long before the newest event: one that came in earlier may be written later."""
PAGE_MAX: Final = 200
PAGES_MAX: Final = 50
"""Of one look: 10,000 events."""
SEEN_MAX: Final = 20_000
"""More than come within the overlap."""
AWAY_S: Final = 60.0
"""How long a gateway that does not answer is waited for."""


class Seen:
    """Which events were shown, and as what; the newest `SEEN_MAX`."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, int] = OrderedDict()

    def news(self, found: Sequence[pb.WebhookEvent]) -> Iterator[pb.WebhookEvent]:
        """Yield, the oldest first, those that were not shown as they stand now."""
        for one in sorted(found, key=lambda event: event.receive_time.ToNanoseconds()):
            if self._states.get(one.event_id) == one.state:
                continue
            self._states[one.event_id] = one.state
            self._states.move_to_end(one.event_id)
            while len(self._states) > SEEN_MAX:
                self._states.popitem(last=False)
            yield one


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
        if not as_json:
            error_console.print("Waiting for events; Ctrl-C ends it.", style="dim")
        seen, shown, begin = Seen(), 0, datetime.now(UTC) - since
        answered = time.monotonic()
        for _look in itertools.count():  # until the person ends it
            try:
                found = await _since(client, begin, payment_id=payment, types=type_ or [])
                answered = time.monotonic()
            except Unavailable:
                if time.monotonic() - answered > AWAY_S:
                    raise
                found = []
            for one in seen.news(found):
                _show(one, as_json=as_json)
                shown += 1
                if shown == count:
                    return Exit.OK
            if found:
                newest = max(one.receive_time.ToDatetime(UTC) for one in found)
                begin = max(begin, newest - OVERLAP)
            await asyncio.sleep(LOOK_S)
        return Exit.OK

    call(context, work, as_json=as_json)


async def _since(client: Client, begin: datetime, *, payment_id: str, types: list[str]) -> list[pb.WebhookEvent]:
    request = pb.ListWebhookEventsRequest(payment_id=payment_id, types=types, page_size=PAGE_MAX)
    request.start_time.FromDatetime(begin)
    found: list[pb.WebhookEvent] = []
    for _ in range(PAGES_MAX):
        page = await client.gateway_ops.ListWebhookEvents(request)
        found += page.events
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    return found


def _show(one: pb.WebhookEvent, *, as_json: bool) -> None:
    if as_json:
        print_json_line(as_document(one))
        return
    for line in event_lines(one):
        console.print(line, soft_wrap=True)

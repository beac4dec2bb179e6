"""`batzen mails`: what became of the mails that tell people, for operators."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.orchestrator.v1.mails_pb2 import ListMailsRequest, Mail, MailState, ReplayMailsRequest
from batzen.orchestrator.v1.notifications_pb2 import NotificationRecipient

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Examples:

batzen mails list --payment pay_…

batzen mails list --state given-up

batzen mails list --limit 200 --json

Where a mail was sent is kept nowhere."""
REPLAY_EPILOG: Final = """Example:

batzen mails replay --reason "the mail server is back"

Each is tried for two days again. One whose first try was not answered may arrive twice, as the same mail."""
PAGE_MAX: Final = 200
REPLAYS_MAX: Final = 100
"""Of 1,000 mails each; whoever has more given up asks again."""

app = Commands(help="What became of mails, and those that were given up.")


class Standing(StrEnum):
    """How a mail stands."""

    WAITING = "waiting"
    SENT = "sent"
    REFUSED = "refused"
    SKIPPED = "skipped"
    GIVEN_UP = "given-up"


@app.command("list", epilog=LIST_EPILOG)
def list_mails(
    context: typer.Context,
    *,
    payment: Annotated[str, typer.Option(help="Only those about this payment.", show_default=False)] = "",
    state: Annotated[Standing | None, typer.Option(help="Only those that stand so.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List mails, the newest first, with what became of them."""

    async def work(client: Client, _: Connection) -> Exit:
        standing = None if state is None else f"MAIL_STATE_{state.name}"
        request = ListMailsRequest(payment_id=payment, page_size=limit, state=standing)
        mails = list((await client.orchestrator_ops.ListMails(request)).mails)
        if as_json:
            print_json([as_document(one) for one in mails])
        elif mails:
            console.print(_table(mails))
        else:
            console.print("There are none.")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=REPLAY_EPILOG)
def replay(
    context: typer.Context,
    *,
    reason: Annotated[str, typer.Option(help="Why, for operators.", show_default=False)],
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Have all mails that were given up tried again."""

    async def work(client: Client, _: Connection) -> Exit:
        count = 0
        for _turn in range(REPLAYS_MAX):
            request = ReplayMailsRequest(request_id=new_request_id(), actor_id=options.actor_id(actor), reason=reason)
            answer = await client.orchestrator_ops.ReplayMails(request)
            count += answer.replayed_count
            if not answer.has_more:
                break
        if as_json:
            print_json({"replayed_count": count})
        else:
            console.print(f"{count} mails are tried again.")
        return Exit.OK

    call(context, work, as_json=as_json)


def _table(mails: list[Mail]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("made", no_wrap=True)
    table.add_column("about", no_wrap=True)  # an id is copied whole
    for title in ("to", "state", "why"):
        table.add_column(title, overflow="fold")
    for one in mails:
        to = NotificationRecipient.Name(one.recipient).removeprefix("NOTIFICATION_RECIPIENT_").lower()
        state = MailState.Name(one.state).removeprefix("MAIL_STATE_").lower().replace("_", " ")
        is_bad = one.state in (MailState.MAIL_STATE_GIVEN_UP, MailState.MAIL_STATE_REFUSED)
        table.add_row(
            one.create_time.ToDatetime().strftime("%d %b %H:%M"),
            f"{one.kind}\n{one.payment_id}".strip(),
            f"{to} {one.recipient_id}".strip(),
            Text(state, style="red" if is_bad else ""),
            one.end_reason or one.problem,
        )
    return table

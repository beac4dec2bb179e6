"""`batzen attention`: what needs an operator, and who looks after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.orchestrator.v1.ops_pb2 import AcknowledgeAttentionRequest, AttentionItem, ListAttentionRequest
from batzen.type.v1.payment_pb2 import PaymentSnapshot

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Examples:

batzen attention list

batzen attention list --unacknowledged --because DISPUTE_DUE

batzen attention list --payment pay_… --all --json

Exit code 0 if nothing needs an operator, 1 if something does."""
ACKNOWLEDGE_EPILOG: Final = """Example:

batzen attention acknowledge 6f1c… --note "I call the guest."

Nothing happens by that: others see who looks after it, until it says something else, or is resolved."""
PAGE_MAX: Final = 200

app = Commands(help="What needs an operator.")


@app.command("list", epilog=LIST_EPILOG)
def list_attention(
    context: typer.Context,
    *,
    payment: Annotated[str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="Only of this payment.")] = "",
    because: Annotated[str, typer.Option(metavar="REASON", show_default=False, help="Only for this reason.")] = "",
    with_resolved: Annotated[bool, typer.Option("--all", help="Also what is resolved.")] = False,
    unacknowledged: Annotated[bool, typer.Option("--unacknowledged", help="Only what nobody looks after.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List what needs an operator, one reason of one payment each."""
    request = ListAttentionRequest(
        payment_id=payment,
        reason=because,
        with_resolved=with_resolved,
        unacknowledged_only=unacknowledged,
        page_size=limit,
    )

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.ListAttention(request)
        if as_json:
            print_json([as_document(one) for one in answer.items])
        else:
            for one in answer.items:
                for line in _lines(one):
                    console.print(line, soft_wrap=True)
            if not answer.items:
                console.print("Nothing needs an operator.", style="green")
            if answer.next_page_token:
                console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        is_open = any(not one.HasField("resolve_time") for one in answer.items)
        return Exit.NOT_AS_WANTED if is_open else Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=ACKNOWLEDGE_EPILOG)
def acknowledge(
    context: typer.Context,
    *,
    item_id: Annotated[str, typer.Argument(metavar="ITEM_ID", help="As `list` shows it.", show_default=False)],
    note: Annotated[str, typer.Option(help="For other operators.", show_default=False)] = "",
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Say that you look after something."""

    async def work(client: Client, _: Connection) -> Exit:
        request = AcknowledgeAttentionRequest(
            request_id=new_request_id(), item_id=item_id, note=note, actor_id=options.actor_id(actor)
        )
        item = (await client.orchestrator_ops.AcknowledgeAttention(request)).item
        if as_json:
            print_json(as_document(item))
        else:
            for line in _lines(item):
                console.print(line, soft_wrap=True)
        return Exit.OK

    call(context, work, as_json=as_json)


def _lines(item: AttentionItem) -> Iterator[Text]:
    is_open = not item.HasField("resolve_time")
    yield Text.assemble((item.reason, "bold red" if is_open else "bold"), f"   {item.payment_id}")
    if item.detail:
        yield Text(f"  {item.detail}")
    yield Text(f"  since {moments.brief(item.raise_time)}   {item.item_id}", style="dim")
    if item.acknowledged_by:
        note = f": {item.note}" if item.note else ""
        yield Text(f"  {item.acknowledged_by} looks after it{note}", style="green")
    if not is_open:
        cause = PaymentSnapshot.Cause.Name(item.resolve_cause).removeprefix("CAUSE_").lower()
        yield Text(f"  resolved {moments.brief(item.resolve_time)} by {_CAUSES.get(cause, 'its payment')}", style="dim")


_CAUSES: Final = {"operator": "an operator", "observation": "what was seen at Stripe", "step": "the plan"}

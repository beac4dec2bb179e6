"""`batzen transfers`: what sellers got of payments, and what of it was taken back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen.cli import moments, money, options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.gateway.v1.transfers_pb2 import ListTransfersRequest, Transfer

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Examples:

batzen transfers list --payment pay_…

batzen transfers list --seller anna --limit 10 --json"""
PAGE_MAX: Final = 200

app = Commands(help="What sellers got of payments.")


@app.command("list", epilog=LIST_EPILOG)
def list_transfers(
    context: typer.Context,
    *,
    payment: Annotated[str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="Of this payment.")] = "",
    seller: Annotated[str, typer.Option(metavar="SELLER_ID", show_default=False, help="To this seller.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List the transfers of a payment, of a seller, or both."""
    if not (payment or seller):
        refuse("Give --payment, --seller, or both.")
    request = ListTransfersRequest(payment_id=payment, seller_id=seller, page_size=limit)

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.transfers.ListTransfers(request)
        if as_json:
            print_json([as_document(one) for one in answer.transfers])
        elif answer.transfers:
            console.print(_table(answer.transfers, of_one=bool(payment)))
            if answer.next_page_token:
                console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        else:
            console.print("No transfers.")
        return Exit.OK

    call(context, work, as_json=as_json)


def _table(found: Iterable[Transfer], *, of_one: bool) -> Table:
    """Show transfers, those of one payment by their ids, others by their payments."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("at Stripe" if of_one else "of payment", "asked for", "seller", "amount", "taken back", "state"):
        is_amount = title in ("amount", "taken back")
        table.add_column(title, justify="right" if is_amount else "left", no_wrap=is_amount, overflow="fold")
    for one in found:
        back = money.shown(one.reversed.amount_minor, one.reversed.currency_code) if one.reversed.amount_minor else ""
        table.add_row(
            Text((one.stripe_transfer_id or one.transfer_id) if of_one else one.payment_id, style="bold"),
            moments.brief(one.create_time),
            one.seller_id,
            money.shown(one.amount.amount_minor, one.amount.currency_code),
            back,
            _standing(one),
        )
    return table


def _standing(one: Transfer) -> Text:
    state = Transfer.State.Name(one.state).removeprefix("STATE_").lower()
    waits = f", waits for {one.waits_for.lower().replace('_', ' ')}" if one.waits_for else ""
    return Text(f"{state}{waits}", style="" if one.state == Transfer.STATE_MADE else "yellow")

"""`batzen receivables`: what sellers owe, which their balances did not cover; and its writing off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, money, options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.gateway.v1.ops_pb2 import ListReceivablesRequest, Receivable, WriteOffReceivableRequest
from batzen.type.v1.money_pb2 import Money

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Examples:

batzen receivables list

batzen receivables list --seller anna --json

What is listed is asked back again by itself, ever more seldom."""
WRITE_OFF_EPILOG: Final = """Examples:

batzen receivables write-off pay_… anna "42.50 CHF" --reason "she left, INC-9"

batzen receivables write-off pay_… anna "42.50 CHF" --attempt 2 --reason INC-9 --yes

All that is owed is written off, if that is still the amount that you saw; it is the platform's loss."""
PAGE_MAX: Final = 200

app = Commands(help="What sellers owe.")


@app.command("list", epilog=LIST_EPILOG)
def list_receivables(
    context: typer.Context,
    *,
    seller: Annotated[str, typer.Option(metavar="SELLER_ID", show_default=False, help="Only of this seller.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, owed for the longest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List what sellers owe, payment by payment."""
    request = ListReceivablesRequest(seller_id=seller, page_size=limit)

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.gateway_ops.ListReceivables(request)
        if as_json:
            print_json([as_document(one) for one in answer.receivables])
        elif answer.receivables:
            console.print(_table(answer.receivables))
            if answer.next_page_token:
                console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        else:
            console.print("No seller owes anything.")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("write-off", epilog=WRITE_OFF_EPILOG)
def write_off(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    seller_id: Annotated[str, typer.Argument(metavar="SELLER_ID", help="Who owes it.", show_default=False)],
    amount: Annotated[
        Money,
        typer.Argument(
            metavar="AMOUNT", parser=options.read_amount, show_default=False, help="What you saw as owed: '42.50 CHF'."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why.", show_default=False)],
    attempt: Annotated[
        int | None,
        typer.Option(min=1, show_default=False, help="Of which attempt, where more than one is owed of the payment."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Write off what a seller owes of a payment: it is not asked back any more."""
    if not yes:
        if as_json:
            refuse("With --json also give --yes.")
        owed = money.shown(amount.amount_minor, amount.currency_code)
        typer.confirm(f"Write off {owed} that {seller_id} owes?", abort=True)

    async def work(client: Client, _: Connection) -> Exit:
        request = WriteOffReceivableRequest(
            request_id=new_request_id(),
            payment_id=payment_id,
            attempt=attempt or await _attempt(client, payment_id, seller_id),
            seller_id=seller_id,
            expected=amount,
            reason=reason,
            actor_id=options.actor_id(actor),
        )
        answer = await client.gateway_ops.WriteOffReceivable(request)
        if as_json:
            print_json(as_document(answer))
        else:
            lost = money.shown(answer.amount.amount_minor, answer.amount.currency_code)
            console.print(Text.assemble((answer.write_off_id, "bold"), f"   {lost} written off"))
        return Exit.OK

    call(context, work, as_json=as_json)


async def _attempt(client: Client, payment_id: str, seller_id: str) -> int:
    """Return the one attempt of which something is owed; the first where there is none, which the server refuses."""
    found = [one.attempt async for one in _receivables(client, seller_id) if one.payment_id == payment_id]
    if len(found) > 1:
        refuse(f"Something is owed of attempts {', '.join(map(str, found))}: name one with --attempt.")
    return found[0] if found else 1


async def _receivables(client: Client, seller_id: str) -> AsyncIterator[Receivable]:
    request = ListReceivablesRequest(seller_id=seller_id, page_size=PAGE_MAX)
    while True:
        page = await client.gateway_ops.ListReceivables(request)
        for one in page.receivables:
            yield one
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _table(found: Iterable[Receivable]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("since", "seller", "owes", "payment", "attempt"):
        is_figure = title in ("owes", "attempt")
        table.add_column(title, justify="right" if is_figure else "left", no_wrap=is_figure, overflow="fold")
    for one in found:
        owed = money.shown(one.amount.amount_minor, one.amount.currency_code)
        table.add_row(moments.brief(one.since_time), one.seller_id, owed, one.payment_id, str(one.attempt))
    return table

"""`batzen sellers`: who is paid, what Stripe wants to know of them, and what it has paid out."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import money, options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.gateway.v1.sellers_pb2 import (
    CreateOnboardingLinkRequest,
    GetSellerAccountRequest,
    ListPayoutsRequest,
    Payout,
    PutSellerAccountRequest,
    SellerAccount,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

PUT_EPILOG: Final = """Examples:

batzen sellers put seller_2 --email anna@example.com

batzen sellers put seller_3 --email bo@example.com --country DE --statement "YOGA BO"

batzen sellers put seller_4 --account acct_…   (one that exists at Stripe)

batzen sellers put seller_2 --email anna@example.com --name "Anna Berg Yoga" --vat-id CHE-123.456.788"""
GET_EPILOG: Final = """Example:

batzen sellers get seller_1

Exit code 0 if the seller can be paid, 1 if not."""
LINK_EPILOG: Final = """Example:

batzen sellers link seller_2 --return https://shop.example/done --refresh https://shop.example/again

The link works once, and for minutes. Whoever has it acts as the seller: give it to nobody else."""
PAYOUTS_EPILOG: Final = """Examples:

batzen sellers payouts seller_1

batzen sellers payouts   (the platform's own)"""
PAGE_MAX: Final = 200

app = Commands(help="Who is paid, and what Stripe pays out.")
SellerId = Annotated[str, typer.Argument(metavar="SELLER_ID", help="Your own id of the seller.", show_default=False)]


@app.command(epilog=PUT_EPILOG)
def put(
    context: typer.Context,
    *,
    seller_id: SellerId,
    email: Annotated[str, typer.Option(help="Where Stripe writes to; needed for a new account.")] = "",
    country: Annotated[str, typer.Option(help="ISO 3166-1 code of the seller's country.")] = "CH",
    account: Annotated[
        str, typer.Option(metavar="ACCT_ID", show_default=False, help="An account that exists at Stripe.")
    ] = "",
    statement: Annotated[
        str | None,
        typer.Option(
            show_default=False, help="What payers' statements show behind the platform's name; '' for nothing."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(show_default=False, help="What receipts call the seller; '' for nothing.")
    ] = None,
    vat_id: Annotated[
        str | None, typer.Option(show_default=False, help="The seller's VAT id, for receipts; '' for none.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Register a seller, with a new account at Stripe or one that exists. Repeating it changes nothing."""

    async def work(client: Client, _: Connection) -> Exit:
        request = PutSellerAccountRequest(
            request_id=new_request_id(),
            seller_id=seller_id,
            country_code=country.upper(),
            email=email,
            stripe_account_id=account,
            statement_descriptor_suffix=statement,
            receipt_name=name,
            vat_id=vat_id,
        )
        made = (await client.sellers.PutSellerAccount(request)).account
        _show(made, as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=GET_EPILOG)
def get(context: typer.Context, *, seller_id: SellerId, as_json: options.Json = False) -> None:
    """Show a seller's account: whether it can be paid, and what Stripe wants to know by when."""

    async def work(client: Client, _: Connection) -> Exit:
        account = (await client.sellers.GetSellerAccount(GetSellerAccountRequest(seller_id=seller_id))).account
        _show(account, as_json=as_json)
        return Exit.OK if account.transfers_enabled else Exit.NOT_AS_WANTED

    call(context, work, as_json=as_json)


@app.command(epilog=LINK_EPILOG)
def link(
    context: typer.Context,
    *,
    seller_id: SellerId,
    return_url: Annotated[
        str, typer.Option("--return", metavar="URL", help="Where the seller goes when done.", show_default=False)
    ],
    refresh_url: Annotated[
        str, typer.Option("--refresh", metavar="URL", help="Where one goes whose link is too old.", show_default=False)
    ],
    as_json: options.Json = False,
) -> None:
    """Make a link on which the seller tells Stripe what it wants to know."""

    async def work(client: Client, _: Connection) -> Exit:
        made = await client.sellers.CreateOnboardingLink(
            CreateOnboardingLinkRequest(seller_id=seller_id, return_url=return_url, refresh_url=refresh_url)
        )
        if as_json:
            print_json(as_document(made))
        else:
            console.print(Text(made.url, style="bold"), soft_wrap=True)
            console.print(f"until {_moment(made.expire_time)}, once", style="dim")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=PAYOUTS_EPILOG)
def payouts(
    context: typer.Context,
    *,
    seller_id: Annotated[
        str, typer.Argument(metavar="[SELLER_ID]", help="Whose; without one the platform's own.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List what Stripe pays out to a seller's bank, or to the platform's."""

    async def work(client: Client, _: Connection) -> Exit:
        page = await client.sellers.ListPayouts(ListPayoutsRequest(seller_id=seller_id, page_size=limit))
        if as_json:
            print_json([as_document(payout) for payout in page.payouts])
        elif page.payouts:
            console.print(_table(list(page.payouts)))
            if page.next_page_token:
                console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        else:
            console.print("None.")
        return Exit.OK

    call(context, work, as_json=as_json)


def _show(account: SellerAccount, *, as_json: bool) -> None:
    if as_json:
        print_json(as_document(account))
        return
    standing = (
        "gone at Stripe" if account.gone else "can be paid" if account.transfers_enabled else "cannot be paid yet"
    )
    console.print(Text.assemble((account.seller_id, "bold"), f"   {account.stripe_account_id}   {standing}"))
    if on_receipts := "   ".join(filter(None, (account.receipt_name, account.vat_id))):
        console.print(Text(f"on receipts: {on_receipts}"))
    wanted = account.requirements
    by = f" by {_moment(wanted.due_time)}" if wanted.HasField("due_time") else ""
    for title, pieces in (
        ("Stripe has stopped it", [account.disabled_reason] if account.disabled_reason else []),
        ("past due", wanted.past_due),
        (f"due{by}", wanted.currently_due),
        ("due some day", [one for one in wanted.eventually_due if one not in wanted.currently_due]),
        ("being looked at", wanted.pending_verification),
        ("not good", [f"{error.requirement}: {error.reason}" for error in wanted.errors]),
    ):
        if pieces:
            console.print(f"{title}: {', '.join(pieces)}", soft_wrap=True)


def _table(found: list[Payout]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("payout", "made", "amount", "state", "arrives"):
        table.add_column(title, overflow="fold")
    for payout in found:
        state = f"{payout.state}: {payout.failure_code}" if payout.failure_code else payout.state
        table.add_row(
            Text(payout.payout_id, style="bold"),
            _moment(payout.create_time),
            money.shown(payout.amount.amount_minor, payout.amount.currency_code),
            Text(state, style="red" if payout.failure_code else ""),
            _moment(payout.arrival_time),
        )
    return table


def _moment(time: Timestamp) -> str:
    return time.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M UTC")

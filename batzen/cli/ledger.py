"""`batzen ledger`: what was booked, for operators and their bookkeeping: entries, balances, statements of sellers."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table

from batzen.cli import moments, money, options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, call, console, print_json, refuse
from batzen.gateway.v1.ops_pb2 import (
    GetBalancesRequest,
    GetBalancesResponse,
    GetSellerStatementRequest,
    GetSellerStatementResponse,
    LedgerEntry,
    ListLedgerEntriesRequest,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

ENTRIES_EPILOG: Final = """Examples:

batzen ledger entries --payment pay_…

batzen ledger entries --account seller:anna --since 2026-11-01 --until 2026-12-01 --csv > anna.csv

batzen ledger entries --account unclassified

The balance is that of the account: from its start, where an account or nothing is asked for; else of what is listed."""
BALANCES_EPILOG: Final = """Examples:

batzen ledger balances

batzen ledger balances --at 2026-12-01 --csv

batzen ledger balances --seller anna"""
STATEMENT_EPILOG: Final = """Example:

batzen ledger statement anna --since 2026-11-01 --until 2026-12-01 --csv

Above 0 the seller is owed, below 0 it owes. VAT: on the platform's fee, and in the price of what was sold."""
PAGE_MAX: Final = 500

Row = dict[str, str | int]
"""What is printed: names to texts, and to amounts in minor units."""

app = Commands(help="What was booked.")


def read_past(value: str) -> datetime:
    """Read 2026-11-01, an instant, or how long ago: 30d. A day begins at midnight UTC, and so is all without offset."""
    if moments.SPAN.fullmatch(value):
        return datetime.now(UTC) - moments.read_span(value)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise typer.BadParameter("Write it as 2026-11-01, 2026-11-01T18:00+01:00, or as 30d for so long ago.") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


Csv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values, amounts in minor units.")]
Since = Annotated[
    datetime | None,
    typer.Option(metavar="WHEN", parser=read_past, show_default=False, help="From then on: 2026-11-01, or 30d ago."),
]
Until = Annotated[
    datetime | None, typer.Option(metavar="WHEN", parser=read_past, show_default=False, help="Up to then, exclusive.")
]
Seller = Annotated[str, typer.Option(metavar="SELLER_ID", show_default=False, help="Only of this seller.")]
AccountName = Annotated[
    str,
    typer.Option(metavar="ACCOUNT", show_default=False, help="Only of this account, such as seller or seller:anna."),
]


@app.command("entries", epilog=ENTRIES_EPILOG)
def list_entries(
    context: typer.Context,
    *,
    payment: Annotated[str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="Only of this payment.")] = "",
    account: AccountName = "",
    seller: Seller = "",
    since: Since = None,
    until: Until = None,
    by_value: Annotated[bool, typer.Option("--by-value", help="Go by value dates, not by entry dates.")] = False,
    as_csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """List entries with the running balance of their accounts."""
    request = ListLedgerEntriesRequest(
        payment_id=payment,
        account=account,
        seller_id=seller,
        start_time=_stamp(since),
        end_time=_stamp(until),
        by_value_time=by_value,
        page_size=PAGE_MAX,
    )

    async def work(client: Client, _: Connection) -> Exit:
        opening = GetBalancesResponse()
        if since is not None and not (payment or seller or by_value):
            asked = GetBalancesRequest(account=account, at_time=_stamp(since))
            opening = await client.gateway_ops.GetBalances(asked)
        balances = {(one.account, one.amount.currency_code): one.amount.amount_minor for one in opening.balances}
        found = [_entry(one, balances) async for one in _entries(client, request)]
        _tell(found, as_csv=as_csv, as_json=as_json, hidden=("value_time", "actor_id", "corrects", "seller_id"))
        return Exit.OK

    _chosen(as_csv=as_csv, as_json=as_json)
    call(context, work, as_json=as_json)


@app.command("balances", epilog=BALANCES_EPILOG)
def list_balances(
    context: typer.Context,
    *,
    account: AccountName = "",
    seller: Seller = "",
    at: Annotated[
        datetime | None,
        typer.Option(metavar="WHEN", parser=read_past, show_default=False, help="As it was then; by default now."),
    ] = None,
    as_csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """Show what each account comes to: the trial balance, which sums to zero in each currency."""
    request = GetBalancesRequest(account=account, seller_id=seller, at_time=_stamp(at))

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.gateway_ops.GetBalances(request)
        found: list[Row] = [
            {
                "account": one.account,
                "currency": one.amount.currency_code,
                "debit": max(0, one.amount.amount_minor),
                "credit": max(0, -one.amount.amount_minor),
            }
            for one in answer.balances
        ]
        _tell(found, as_csv=as_csv, as_json=as_json)
        return Exit.OK

    _chosen(as_csv=as_csv, as_json=as_json)
    call(context, work, as_json=as_json)


@app.command("statement", epilog=STATEMENT_EPILOG)
def statement(
    context: typer.Context,
    *,
    seller_id: Annotated[str, typer.Argument(metavar="SELLER_ID", show_default=False)],
    since: Since = None,
    until: Until = None,
    as_csv: Csv = False,
    as_json: options.Json = False,
) -> None:
    """Show what a seller was owed, fact by fact, with the figures of an invoice and a running balance."""
    request = GetSellerStatementRequest(
        seller_id=seller_id,
        start_time=_stamp(since or datetime(2000, 1, 1, tzinfo=UTC)),
        end_time=_stamp(until or datetime.now(UTC)),
        page_size=PAGE_MAX,
    )

    async def work(client: Client, _: Connection) -> Exit:
        found: list[Row] = []
        balances: dict[str, int] = {}
        while True:
            page = await client.gateway_ops.GetSellerStatement(request)
            if not found:
                found += _opening(page.opening, balances)
            found += [_line(one, balances) for one in page.lines]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        _tell(found, as_csv=as_csv, as_json=as_json, hidden=("value_time", "transaction"))
        return Exit.OK

    _chosen(as_csv=as_csv, as_json=as_json)
    call(context, work, as_json=as_json)


async def _entries(client: Client, request: ListLedgerEntriesRequest) -> AsyncIterator[LedgerEntry]:
    while True:
        page = await client.gateway_ops.ListLedgerEntries(request)
        for one in page.entries:
            yield one
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _entry(one: LedgerEntry, balances: dict[tuple[str, str], int]) -> Row:
    key = (one.account, one.amount.currency_code)
    balances[key] = balances.get(key, 0) + one.amount.amount_minor
    return {
        "record_time": _time(one.record_time),
        "value_time": _time(one.value_time),
        "transaction": one.transaction_id,
        "account": one.account,
        "currency": one.amount.currency_code,
        "amount": one.amount.amount_minor,
        "balance": balances[key],
        "payment": one.payment_id,
        "seller_id": one.seller_id,
        "stripe": one.stripe_id,
        "actor_id": one.actor_id,
        "corrects": one.corrects_transaction_id,
    }


def _opening(found: Sequence[GetSellerStatementResponse.Owed], balances: dict[str, int]) -> list[Row]:
    balances.update({one.owed.currency_code: one.owed.amount_minor for one in found})
    return [
        _statement_row(fact="opening", currency=one.owed.currency_code, held=one.held.amount_minor)
        | {"balance": one.owed.amount_minor}
        for one in found
    ]


def _line(one: GetSellerStatementResponse.Line, balances: dict[str, int]) -> Row:
    currency = one.amount.currency_code
    balances[currency] = balances.get(currency, 0) + one.amount.amount_minor
    return _statement_row(fact=one.fact, currency=currency, held=one.held.amount_minor) | {
        "record_time": _time(one.record_time),
        "value_time": _time(one.value_time),
        "transaction": one.transaction_id,
        "payment": one.payment_id,
        "gross": one.gross.amount_minor,
        "fee": one.platform_fee.amount_minor,
        "fee_vat": one.platform_fee_vat.amount_minor,
        "sale_vat": one.sale_vat.amount_minor,
        "amount": one.amount.amount_minor,
        "balance": balances[currency],
    }


def _statement_row(*, fact: str, currency: str, held: int) -> Row:
    empty: Row = {"record_time": "", "value_time": "", "transaction": "", "fact": fact, "payment": ""}
    return empty | {"currency": currency} | dict.fromkeys(("gross", "fee", "fee_vat", "sale_vat", "amount"), 0) | {
        "held": held,
        "balance": 0,
    }  # fmt: skip


def _tell(found: Sequence[Row], *, as_csv: bool, as_json: bool, hidden: Sequence[str] = ()) -> None:
    """Print rows: for programs all columns, for people those that fit."""
    if as_json:
        print_json(list(found))
        return
    if as_csv:
        if found:
            writer = csv.DictWriter(sys.stdout, fieldnames=list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)
        return
    if not found:
        console.print("Nothing is booked.")
        return
    shown = [name for name in found[0] if name not in (*hidden, "currency") and any(row[name] for row in found)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in shown:
        is_amount = isinstance(found[0][name], int)
        table.add_column(
            name.replace("_", " "), justify="right" if is_amount else "left", no_wrap=is_amount, overflow="fold"
        )
    for row in found:
        table.add_row(*(_cell(row[name], str(row["currency"])) for name in shown))
    console.print(table)


def _cell(value: str | int, currency_code: str) -> str:
    if isinstance(value, str):
        return value
    return money.shown(value, currency_code) if value else ""


def _chosen(*, as_csv: bool, as_json: bool) -> None:
    if as_csv and as_json:
        refuse("Either --csv or --json.")


def _stamp(instant: datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def _time(stamp: Timestamp) -> str:
    return stamp.ToDatetime(UTC).isoformat(timespec="seconds")

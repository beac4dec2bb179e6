"""`batzen figures`: what payments came to, by day, seller or method."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from batzen.cli import money, options
from batzen.cli.moments import DEFAULT_ZONE
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.orchestrator.v1.ops_pb2 import GetPaymentFiguresRequest, PaymentFigures

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

EPILOG: Final = """Examples:

batzen figures

batzen figures --since 2026-11-01 --until 2026-11-30 --by seller

batzen figures --method card --json

Days are those of Europe/Zurich. --json has declines by code and how long payers took, too."""
DAYS_SHOWN: Final = 7
"""Unless others are asked for: today and the six before."""


class By(StrEnum):
    """What a row is of."""

    DAY = "day"
    SELLER = "seller"
    METHOD = "method"


ROWS: Final = {
    By.DAY: GetPaymentFiguresRequest.BY_DAY,
    By.SELLER: GetPaymentFiguresRequest.BY_SELLER,
    By.METHOD: GetPaymentFiguresRequest.BY_METHOD,
}


def read_day(value: str) -> date:
    """Read 2026-11-29."""
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise typer.BadParameter("Write it as 2026-11-29.") from None


def figures(
    context: typer.Context,
    *,
    since: Annotated[
        date | None,
        typer.Option(parser=read_day, metavar="DAY", show_default="six days ago", help="The first day."),
    ] = None,
    until: Annotated[
        date | None, typer.Option(parser=read_day, metavar="DAY", show_default="today", help="The last day.")
    ] = None,
    by: Annotated[By, typer.Option(help="What a row is of.")] = By.DAY,
    seller: Annotated[str, typer.Option(metavar="SELLER_ID", show_default=False, help="Only of this seller.")] = "",
    method: Annotated[str, typer.Option(metavar="TYPE", show_default=False, help="Only of this type: card.")] = "",
    currency: Annotated[str, typer.Option(metavar="CODE", show_default=False, help="Only in this currency.")] = "",
    as_json: options.Json = False,
) -> None:
    """Show what payments came to: started, paid, revenue, declines, how long payers took."""
    end = until or datetime.now(UTC).astimezone(ZoneInfo(DEFAULT_ZONE)).date()
    start = since or end - timedelta(days=DAYS_SHOWN - 1)
    request = GetPaymentFiguresRequest(
        start_date=start.isoformat(),
        end_date=end.isoformat(),
        by=ROWS[by],
        seller_id=seller,
        method_type=method,
        currency_code=currency,
    )

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.GetPaymentFigures(request)
        if as_json:
            print_json([as_document(row) for row in answer.rows])
            return Exit.OK
        if answer.rows:
            console.print(_table(by, list(answer.rows)))
        else:
            console.print(f"Nothing happened from {start} to {end}.")
        if answer.next_page_token:
            console.print("There is more than that: ask for fewer days, or of one seller.", style="dim")
        return Exit.OK

    call(context, work, as_json=as_json)


def _table(by: By, rows: list[PaymentFigures]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(by.value, no_wrap=True)
    for title in ("started", "converted", "paid", "revenue", "refunded", "declined", "median"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        share = f" ({100 * row.converted_count // row.started_count} %)" if row.started_count else ""
        table.add_row(
            row.date or row.seller_id or row.method_type,
            str(row.started_count),
            f"{row.converted_count}{share}",
            str(row.paid_count),
            money.shown(row.revenue_minor, row.currency_code),
            money.shown(row.refunded_minor, row.currency_code),
            str(row.declined_count),
            f"{row.time_to_pay.median_s} s" if row.time_to_pay.count else "–",
        )
    return table

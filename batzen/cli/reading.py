"""`batzen watch`, `list`, `quote`: what only looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, money, options, states
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.cli.program import program
from batzen.cli.stream import StreamPrinter
from batzen.pricing.v1.price_book_pb2 import LineKind, TaxBehavior
from batzen.pricing.v1.pricing_pb2 import CreateQuoteRequest, Line, Quote, RowKind
from batzen.status.v1.status_pb2 import GetPaymentRequest, ListPaymentsRequest, Payment, PaymentFilter
from batzen.type.v1.payment_pb2 import PaymentState

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

WATCH_EPILOG: Final = """Examples:

batzen watch pay_…

batzen watch pay_… --until-settled --json   (a JSON document a line)

batzen watch pay_… --after 3   (only what comes after revision 3)"""
LIST_EPILOG: Final = """Examples:

batzen list --limit 5

batzen list --payer payer_1 --state succeeded --state refunded

batzen list --unsettled --json"""
QUOTE_EPILOG: Final = """Examples:

batzen quote --amount "100.00 CHF"

batzen quote --amount "80 CHF" --amount "20 CHF" --quantity 2 --exclusive

A preview: nothing is kept, unless with --keep."""
PAGE_MAX: Final = 200
TABLE_WIDTH_MIN: Final = 100
"""Columns that a table of payments needs."""
NARROW: Final = 80


def watch(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    after: Annotated[
        int | None, typer.Option(metavar="REVISION", min=0, show_default=False, help="Begin after this revision.")
    ] = None,
    until_settled: Annotated[
        bool, typer.Option("--until-settled", help="End once nothing more is awaited; otherwise Ctrl-C does.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Follow a payment live, each state as it comes."""

    async def work(client: Client, _: Connection) -> Exit:
        payment = (await client.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment
        printer = StreamPrinter(as_json=as_json, currency_code=payment.total.currency_code)
        if not as_json:
            console.print(Text.assemble((payment.payment_id, "bold"), "   ", _total(payment)))
        async with client.watch(payment_id, after_revision=after, until_settled=until_settled) as updates:
            async for update in updates:
                printer(update)
        return Exit.OK

    call(context, work, as_json=as_json)


def list_payments(
    context: typer.Context,
    *,
    payer: Annotated[str, typer.Option(metavar="PAYER_ID", show_default=False, help="Only of this payer.")] = "",
    seller: Annotated[str, typer.Option(metavar="SELLER_ID", show_default=False, help="Only with this seller.")] = "",
    booking: Annotated[str, typer.Option(metavar="BOOKING_ID", show_default=False, help="Only for this booking.")] = "",
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="Only in this state, such as succeeded; may be repeated.")
    ] = None,
    unsettled: Annotated[bool, typer.Option("--unsettled", help="Only those of which something is awaited.")] = False,
    attention: Annotated[bool, typer.Option("--attention", help="Only those that need an operator.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List payments, the newest first."""
    wanted = PaymentFilter(
        payer_id=payer,
        seller_id=seller,
        booking_id=booking,
        states=[_state(word) for word in state or []],
        unsettled_only=unsettled,
        attention_only=attention,
    )
    request = ListPaymentsRequest(filter=wanted, page_size=limit)

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.status.ListPayments(request)
        if as_json:
            print_json([as_document(payment) for payment in answer.payments])
        elif answer.payments:
            print_payments(answer.payments)
            if answer.next_page_token:
                console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        else:
            console.print(f"No such payments. Make one: {program()} pay --amount '100.00 CHF'", soft_wrap=True)
        return Exit.OK

    call(context, work, as_json=as_json)


def quote(
    context: typer.Context,
    *,
    amount: Annotated[
        list[str], typer.Option(metavar="AMOUNT", help="The price of a line: '100.00 CHF'; once per line.")
    ],
    seller: options.SellerId = None,
    quantity: Annotated[str, typer.Option(help="How many of each line; fractions are fine: 1.5.")] = "1",
    country: Annotated[str, typer.Option(help="Country of supply, ISO 3166-1; empty: CH.")] = "",
    tax_category: Annotated[str, typer.Option(help="Tax category in the price book; empty: standard.")] = "",
    exclusive: Annotated[bool, typer.Option("--exclusive", help="The prices are without VAT.")] = False,
    coupon: Annotated[list[str] | None, typer.Option(metavar="CODE", help="A coupon; may be repeated.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it as a quote that can be paid.")] = False,
    as_json: options.Json = False,
) -> None:
    """Price something, and show how the price comes about."""
    amounts = [options.read_amount(text) for text in amount]

    async def work(client: Client, connection: Connection) -> Exit:
        lines = [
            Line(
                line_id=str(number),
                seller_id=seller or connection.seller_id or "seller",
                kind=LineKind.LINE_KIND_SESSION,
                quantity=quantity,
                unit_amount=unit_amount,
                country=country.upper(),
                tax_category=tax_category,
                tax_behavior=(TaxBehavior.TAX_BEHAVIOR_EXCLUSIVE if exclusive else TaxBehavior.TAX_BEHAVIOR_INCLUSIVE),
            )
            for number, unit_amount in enumerate(amounts, start=1)
        ]
        request = CreateQuoteRequest(
            request_id=new_request_id(), lines=lines, coupon_codes=coupon or [], preview=not keep
        )
        made = (await client.pricing.CreateQuote(request)).quote
        if as_json:
            print_json(as_document(made))
        else:
            console.print(_quote_table(made))
        return Exit.OK

    call(context, work, as_json=as_json)


def _state(word: str) -> str:
    names = PaymentState.keys()
    name = f"PAYMENT_STATE_{word.upper().replace('-', '_').replace(' ', '_')}"
    if name not in names or name.endswith("_UNSPECIFIED"):
        known = ", ".join(states.name(number).lower() for number in PaymentState.values() if number)
        refuse(f"There is no state {word!r}; there are {known}.")
    return name


def print_payments(payments: Sequence[Payment]) -> None:
    """Print a line for each payment, two where the terminal is narrow: an id is never cut."""
    if console.width < TABLE_WIDTH_MIN:
        for payment in payments:
            for line in _lines(payment):
                console.print(line, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (("opened", "left"), ("payment", "left"), ("payer", "left"), ("total", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("state", ratio=1)
    for payment in payments:
        table.add_row(
            moments.brief(payment.open_time),
            payment.payment_id,
            payment.payer_id,
            _total(payment),
            states.joined([states.label(payment.state), states.brief(payment)], " · "),
        )
    console.print(table)


def _lines(payment: Payment) -> Iterator[Text]:
    """Yield what fits into 80 columns: what it is on the first line, what there is to say of it below."""
    label = states.label(payment.state)
    yield Text.assemble(states.sign(payment.state), f" {payment.payment_id}  {_total(payment):>14}  ", label[2:])
    rest = states.joined([Text(payment.payer_id, style="dim"), states.brief(payment)], " · ")
    below = Text.assemble((f"  {moments.brief(payment.open_time)}  ", "dim"), rest)
    below.truncate(NARROW, overflow="ellipsis")
    yield below


def _quote_table(quote: Quote) -> Table:
    """Show the rows: what is paid, then what of it goes to whom."""
    currency = quote.currency_code
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(min_width=44)
    table.add_column(justify="right")
    for row in quote.rows:
        kind = RowKind.Name(row.kind).removeprefix("ROW_KIND_").lower().replace("_", " ")
        about = " ".join(
            part
            for part in (
                kind,
                row.line_id or row.adjustment_id,
                row.seller_id,
                row.rate_percent and f"{row.rate_percent} %",
            )
            if part
        )
        style = "" if row.included_in_total else "dim"
        table.add_row(Text(about, style=style), Text(money.shown(row.amount_minor, currency), style=style))
    table.add_row(Text("total", style="bold"), Text(money.shown(quote.total.amount_minor, currency), style="bold"))
    for seller in quote.sellers:
        share = money.shown(seller.seller_share_minor, currency)
        table.add_row(Text(f"of which {seller.seller_id} gets", style="green"), Text(share, style="green"))
        kept = money.shown(seller.platform_share_minor, currency)
        table.add_row(Text("of which the platform keeps", style="green"), Text(kept, style="green"))
    if quote.quote_id:
        table.add_row(Text(quote.quote_id, style="dim"), "")
    return table


def _total(payment: Payment) -> str:
    return money.shown(payment.total.amount_minor, payment.total.currency_code)

"""`batzen pay`: start a payment, play the payer, and show what happens."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.text import Text

from batzen.cli import money, options, states
from batzen.cli.authentication import Outcome, authenticate
from batzen.cli.cards import CARDS
from batzen.cli.connection import Connection
from batzen.cli.follow import Journey, at_least, following, is_decided
from batzen.cli.output import Exit, as_document, call, console, error_console, print_json, refuse
from batzen.cli.program import program
from batzen.cli.stream import StreamPrinter
from batzen.client import Client, new_request_id
from batzen.orchestrator.v1.orchestrator_pb2 import (
    Collection,
    NextAction,
    Payer,
    StartPaymentRequest,
    SubmitPaymentRequest,
    SyncPaymentRequest,
    Timing,
)
from batzen.pricing.v1.price_book_pb2 import LineKind
from batzen.pricing.v1.pricing_pb2 import Line
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment, Transition
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentState

RETURN_URL: Final = "http://127.0.0.1/returned"
"""Where a browser would go after 3-D Secure; nobody does."""
EPILOG: Final = f"""Examples:

batzen pay --amount "100.00 CHF"

batzen pay --amount "25 EUR" --seller seller_1 --card insufficient

batzen pay --amount "80 CHF" --card 3ds --3ds succeed

batzen pay --payment pay_… --card visa      (again, with another card)

Cards: {", ".join(CARDS)}; or any id of a test card, such as pm_card_visa. Exit code 0 once paid, 1 if not."""


def pay(
    context: typer.Context,
    *,
    amount: Annotated[
        Money | None,
        typer.Option(
            metavar="AMOUNT",
            parser=options.read_amount,
            show_default=False,
            help="How much, exactly, with the currency: '100.00 CHF'.",
        ),
    ] = None,
    seller: options.SellerId = None,
    payer: Annotated[str, typer.Option(metavar="PAYER_ID", help="Who pays.")] = "payer_1",
    card: Annotated[
        str, typer.Option(metavar="CARD", parser=options.read_card, help="A test card by name or id; see below.")
    ] = "visa",
    three_ds: Annotated[
        Outcome | None,
        typer.Option("--3ds", help="What the payer does when asked to authenticate.", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option(help="What is paid for, as the payer sees it.")] = "A session",
    booking: Annotated[
        list[str] | None, typer.Option(metavar="BOOKING_ID", help="A booking it pays for; may be repeated.")
    ] = None,
    payment: Annotated[
        str | None,
        typer.Option(
            metavar="PAYMENT_ID",
            show_default=False,
            help="Try again with a payment that was started, instead of a new one.",
        ),
    ] = None,
    start_only: Annotated[bool, typer.Option("--start-only", help="Leave it to somebody else to pay.")] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for the end.")
    ] = 60,
    as_json: options.Json = False,
) -> None:
    """Take a payment with a test card and watch it move."""
    if (amount is None) == (payment is None):
        refuse("Give --amount for a new payment, or --payment for one that was started.")

    async def work(client: Client, connection: Connection) -> Exit:
        printer = StreamPrinter(as_json=False) if not as_json else None
        if payment is not None:
            begun = (await client.status.GetPayment(GetPaymentRequest(payment_id=payment))).payment
        else:
            seller_id = seller or connection.seller_id
            if amount is None or seller_id is None:
                error_console.print(
                    f"Name a seller with --seller; `{program()} seller add --help` says how to make one."
                )
                return Exit.USAGE
            begun = await _start(client, amount, seller_id=seller_id, payer_id=payer, name=name, bookings=booking or [])
        if printer is not None:
            printer.currency_code = begun.total.currency_code
            _head(begun)
        async with following(client, begun.payment_id, heard=printer or _in_silence) as journey:
            if start_only or (payment is None and begun.settled):
                ended = await journey.until(at_least(begun.revision, is_decided), timeout_s=wait_s)
            else:
                ended = await _submit(client, journey, begun, card=card, three_ds=three_ds, wait_s=wait_s)
        return await _tell(client, ended, wanted_paid=not start_only, as_json=as_json)

    call(context.obj, work, as_json=as_json)


async def _start(
    client: Client, amount: Money, *, seller_id: str, payer_id: str, name: str, bookings: list[str]
) -> Payment:
    line = Line(line_id="1", seller_id=seller_id, kind=LineKind.LINE_KIND_SESSION, quantity="1", unit_amount=amount)
    request = StartPaymentRequest(
        request_id=new_request_id(),
        payer=Payer(payer_id=payer_id),
        lines=[line],
        booking_ids=bookings,
        session_name=name,
        return_url=RETURN_URL,
        timing=Timing.TIMING_IMMEDIATE,
        collection=Collection.COLLECTION_ELEMENTS,
    )
    return (await client.orchestrator.StartPayment(request)).session.payment


async def _submit(
    client: Client, journey: Journey, begun: Payment, *, card: str, three_ds: Outcome | None, wait_s: float
) -> Transition:
    request = SubmitPaymentRequest(
        request_id=new_request_id(), payment_id=begun.payment_id, payment_method_id=card, return_url=RETURN_URL
    )
    answer = await client.orchestrator.SubmitPayment(request)
    if answer.HasField("next_action") and answer.next_action.redirect_url:
        return await _authenticate(client, journey, answer.payment, answer.next_action, three_ds, wait_s=wait_s)
    return await journey.until(at_least(answer.payment.revision, is_decided), timeout_s=wait_s)


async def _authenticate(
    client: Client, journey: Journey, payment: Payment, action: NextAction, outcome: Outcome | None, *, wait_s: float
) -> Transition:
    page = action.redirect_url
    if outcome is None:
        error_console.print(Text.assemble("The payer has to authenticate: ", (page, "underline")), soft_wrap=True)
        error_console.print("Open it in a browser; this waits. Or use --3ds succeed, --3ds fail.", style="dim")
    else:
        await authenticate(page, outcome)
        # What the shop's return page does; the webhook says the same, in whichever order.
        await client.orchestrator.SyncPayment(SyncPaymentRequest(payment_id=payment.payment_id))
    return await journey.until(at_least(payment.revision + 1, is_decided), timeout_s=wait_s)


async def _tell(client: Client, ended: Transition, *, wanted_paid: bool, as_json: bool) -> Exit:
    payment = (await client.status.GetPayment(GetPaymentRequest(payment_id=ended.payment_id))).payment
    paid = payment.state == PaymentState.PAYMENT_STATE_SUCCEEDED
    if as_json:
        print_json(as_document(payment))
    elif paid:
        refund = f"   {program()} refund {payment.payment_id}"
        console.print(Text.assemble(("Paid ", "bold green"), _total(payment), refund), soft_wrap=True)
    elif wanted_paid:
        error_console.print(
            Text.assemble(("Not paid. ", "bold red"), states.remark(payment, payment.total.currency_code))
        )
        if not payment.settled:
            error_console.print(f"Try another card: {_again(payment)}", style="dim", soft_wrap=True)
    else:
        console.print(f"Waits for its payer: {_again(payment)}", soft_wrap=True)
    return Exit.OK if paid or not wanted_paid else Exit.NOT_AS_WANTED


def _again(payment: Payment) -> str:
    return f"{program()} pay --payment {payment.payment_id} --card visa"


def _head(payment: Payment) -> None:
    who = f"{payment.payer_id} → {', '.join(payment.seller_ids)}"
    console.print(Text.assemble((payment.payment_id, "bold"), "   ", (_total(payment), "bold"), "   ", (who, "dim")))


def _total(payment: Payment) -> str:
    return money.shown(payment.total.amount_minor, payment.total.currency_code)


def _in_silence(_: Transition) -> None:
    pass

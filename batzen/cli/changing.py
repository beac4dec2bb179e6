"""`batzen refund`: what gives money back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer
from rich.text import Text

from batzen.cli import money, options, states
from batzen.cli.connection import Connection
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.client import Client, new_request_id
from batzen.orchestrator.v1.orchestrator_pb2 import RefundPaymentRequest
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment
from batzen.type.v1.money_pb2 import Money

REFUND_EPILOG: Final = """Examples:

batzen refund pay_…   (all that is left)

batzen refund pay_… --amount "30.00 CHF" --reason duplicate

Exit code 0 once Stripe took it on; a refund that is still on its way says so."""


class Reason(StrEnum):
    """Why money is given back."""

    REQUESTED = "requested"
    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"


REASONS: Final = {
    Reason.REQUESTED: RefundPaymentRequest.REASON_REQUESTED_BY_PAYER,
    Reason.DUPLICATE: RefundPaymentRequest.REASON_DUPLICATE,
    Reason.FRAUDULENT: RefundPaymentRequest.REASON_FRAUDULENT,
}


def refund(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    amount: Annotated[
        Money | None,
        typer.Option(
            metavar="AMOUNT",
            parser=options.read_amount,
            show_default=False,
            help="How much, exactly: '30.00 CHF'. Default: all that is left.",
        ),
    ] = None,
    reason: Annotated[Reason, typer.Option(help="Why.")] = Reason.REQUESTED,
    actor: options.Actor = "",
    keep_seller_part: Annotated[bool, typer.Option("--keep-seller-part", help="The seller keeps its part.")] = False,
    keep_platform_fee: Annotated[bool, typer.Option("--keep-platform-fee", help="The platform keeps its fee.")] = False,
    as_json: options.Json = False,
) -> None:
    """Give money back to the payer."""

    async def work(client: Client, _: Connection) -> Exit:
        payment = (await client.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment
        request = RefundPaymentRequest(
            request_id=new_request_id(),
            payment_id=payment_id,
            amount=amount,
            expected_refundable=refundable(payment),
            reason=REASONS[reason],
            keep_seller_part=keep_seller_part,
            keep_platform_fee=keep_platform_fee,
            actor_id=options.actor_id(actor),
        )
        answer = await client.orchestrator.RefundPayment(request)
        if as_json:
            print_json(as_document(answer))
        else:
            given = money.shown(answer.amount.amount_minor, answer.amount.currency_code)
            console.print(Text.assemble((f"{answer.refund_id} ", "bold"), given))
            remark = states.remark(answer.payment, payment.total.currency_code)
            console.print(Text.assemble(states.label(answer.payment.state), "   ", remark))
        return Exit.OK

    call(context, work, as_json=as_json)


def refundable(payment: Payment) -> Money:
    """Return what can still be given back, as the snapshot says; never below zero."""
    amounts = payment.snapshot.amounts
    left = amounts.captured_minor - amounts.refunded_minor - amounts.refund_pending_minor
    left -= amounts.disputed_open_minor + amounts.disputed_lost_minor
    return Money(amount_minor=max(left, 0), currency_code=payment.total.currency_code)

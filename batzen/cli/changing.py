"""`batzen refund`: what gives money back: all or some of it, of one seller, of single lines, or by policy."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, money, options, states
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.orchestrator.v1.orchestrator_pb2 import (
    PreviewRefundRequest,
    PreviewRefundResponse,
    RefundLineAmount,
    RefundPaymentRequest,
    RefundPaymentResponse,
)
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment
from batzen.type.v1.money_pb2 import Money

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

REFUND_EPILOG: Final = """Examples:

batzen refund pay_…   (all that is left)

batzen refund pay_… --amount "30.00 CHF" --reason duplicate

batzen refund pay_… --seller anna   (all that she sold)

batzen refund pay_… --line "1=20.00 CHF" --line "3=5.00 CHF"

batzen refund pay_… --by-policy --preview   (what the policy gives back now, and of whom)

batzen refund pay_… --beyond-policy "the teacher fell ill"

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
    seller: Annotated[
        str, typer.Option(metavar="SELLER_ID", show_default=False, help="Only of what this seller sold.")
    ] = "",
    line: Annotated[
        list[str] | None,
        typer.Option(metavar="LINE_ID=AMOUNT", show_default=False, help="So much of this line; again for more lines."),
    ] = None,
    by_policy: Annotated[
        bool, typer.Option("--by-policy", help="What the payment's refund policy gives back now, and no more.")
    ] = False,
    beyond_policy: Annotated[
        str,
        typer.Option(metavar="WHY", show_default=False, help="More than the policy says, for this reason; operators."),
    ] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Say what it would do, and do nothing.")] = False,
    reason: Annotated[Reason, typer.Option(help="Why.")] = Reason.REQUESTED,
    actor: options.Actor = "",
    keep_seller_part: Annotated[bool, typer.Option("--keep-seller-part", help="The seller keeps its part.")] = False,
    keep_platform_fee: Annotated[bool, typer.Option("--keep-platform-fee", help="The platform keeps its fee.")] = False,
    as_json: options.Json = False,
) -> None:
    """Give money back to the payer."""
    if seller and line:
        refuse("Either --seller or --line.")
    if by_policy and (amount is not None or line):
        refuse("--by-policy says how much; leave --amount and --line out.")
    sold = [options.read_named_amount(text) for text in line or []]
    lines = [RefundLineAmount(line_id=line_id, amount_minor=part.amount_minor) for line_id, part in sold]
    asked = PreviewRefundRequest(
        payment_id=payment_id,
        amount=amount,
        seller_id=seller,
        line_amounts=lines,
        keep_seller_part=keep_seller_part,
        keep_platform_fee=keep_platform_fee,
    )

    async def work(client: Client, _: Connection) -> Exit:
        payment = (await client.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment
        if any(part.currency_code != payment.total.currency_code for _, part in sold):
            refuse(f"The payment is in {payment.total.currency_code}.")
        seen = PreviewRefundResponse(amount=amount, refundable=refundable(payment))
        if preview or by_policy or (seller and amount is None):
            seen = await client.orchestrator.PreviewRefund(asked)
        gives_nothing = by_policy and not seen.policy_lines
        if by_policy and seen.policy_lines:
            asked.ClearField("seller_id")
            asked.line_amounts.extend(seen.policy_lines)
            seen = await client.orchestrator.PreviewRefund(asked)
        if preview or gives_nothing:
            _tell_preview(seen, gives_nothing=gives_nothing, as_json=as_json)
            return Exit.NOT_AS_WANTED if gives_nothing else Exit.OK
        request = RefundPaymentRequest(
            request_id=new_request_id(),
            payment_id=payment_id,
            amount=seen.amount if seen.HasField("amount") else None,
            expected_refundable=seen.refundable,
            reason=REASONS[reason],
            keep_seller_part=keep_seller_part,
            keep_platform_fee=keep_platform_fee,
            actor_id=options.actor_id(actor),
            seller_id=asked.seller_id,
            line_amounts=asked.line_amounts,
            beyond_policy_reason=beyond_policy,
        )
        _tell(await client.orchestrator.RefundPayment(request), payment, as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


def refundable(payment: Payment) -> Money:
    """Return what can still be given back, as the snapshot says; never below zero."""
    amounts = payment.snapshot.amounts
    left = amounts.captured_minor - amounts.refunded_minor - amounts.refund_pending_minor
    left -= amounts.disputed_open_minor + amounts.disputed_lost_minor
    return Money(amount_minor=max(left, 0), currency_code=payment.total.currency_code)


def _tell(answer: RefundPaymentResponse, payment: Payment, *, as_json: bool) -> None:
    if as_json:
        print_json(as_document(answer))
        return
    given = money.shown(answer.amount.amount_minor, answer.amount.currency_code)
    console.print(Text.assemble((f"{answer.refund_id} ", "bold"), given))
    remark = states.remark(answer.payment, payment.total.currency_code)
    console.print(Text.assemble(states.label(answer.payment.state), "   ", remark))


def _tell_preview(seen: PreviewRefundResponse, *, gives_nothing: bool, as_json: bool) -> None:
    if as_json:
        print_json(as_document(seen))
        return
    if gives_nothing:
        console.print("The refund policy of this payment gives nothing back now.")
        return
    currency = seen.refundable.currency_code
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("line", "seller", "the payer gets", "the seller gives", "the platform gives"):
        table.add_column(title, justify="left" if title in ("line", "seller") else "right", no_wrap=True)
    for one in seen.lines:
        of_platform = one.gross_minor - one.seller_share_minor
        amounts = (one.gross_minor, one.seller_share_minor, of_platform)
        table.add_row(one.line_id, one.seller_id, *(money.shown(minor, currency) for minor in amounts))
    console.print(table)
    wanted, left = (money.shown(one.amount_minor, currency) for one in (seen.amount, seen.refundable))
    console.print(Text.assemble((wanted, "bold"), f" would go back, of {left} that can. Nothing was done."))
    until = f" until {moments.shown(seen.policy_until)}" if seen.HasField("policy_until") else ""
    policy = money.shown(seen.policy_amount.amount_minor, currency)
    console.print(Text(f"The policy gives back {policy}{until}.", style="dim"))

"""How a command says where a payment has got to, and what can be done with it next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from rich.text import Text

from batzen.cli import moments, money, states
from batzen.cli.follow import at_least, following, is_decided
from batzen.cli.output import Exit, as_document, console, error_console, print_json
from batzen.cli.program import program
from batzen.cli.stream import StreamPrinter
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentState

if TYPE_CHECKING:
    from batzen.client import Client

DONE: Final = (
    PaymentState.PAYMENT_STATE_SUCCEEDED,
    PaymentState.PAYMENT_STATE_AUTHORIZED,
    PaymentState.PAYMENT_STATE_SCHEDULED,
)
"""The payer has done all that was asked of them."""


async def newest(client: Client, payment_id: str) -> Payment:
    """Return a payment as it stands now."""
    return (await client.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment


async def moved(
    client: Client,
    payment_id: str,
    act: Callable[[], Awaitable[Payment]],
    *,
    wait_s: float,
    as_json: bool,
    is_over: Callable[[Transition | Payment], bool] = is_decided,
) -> Payment:
    """Show how a payment moves while something is done with it, and return it once that is over."""
    before = await newest(client, payment_id)
    printer = StreamPrinter(as_json=False, currency_code=before.total.currency_code) if not as_json else _in_silence
    if not as_json:
        console.print(heading(before))
    async with following(client, payment_id, heard=printer) as journey:
        after = await act()
        await journey.until(at_least(after.revision, is_over), timeout_s=wait_s)
    return await newest(client, payment_id)


def heading(payment: Payment) -> Text:
    """Return the line above the states: which payment, how much, from whom to whom."""
    who = f"{payment.payer_id} → {', '.join(payment.seller_ids)}"
    return Text.assemble((payment.payment_id, "bold"), "   ", (total(payment), "bold"), "   ", (who, "dim"))


def total(payment: Payment) -> str:
    """Return what is to be collected."""
    return money.shown(payment.total.amount_minor, payment.total.currency_code)


def tell(payment: Payment, *, wanted_paid: bool, page_url: str = "", as_json: bool) -> Exit:
    """Say what came of a payer's try, or what a payment waits for; `page_url` is where they can pay."""
    is_done = payment.state in DONE
    if as_json:
        print_json(as_document(payment) | ({"checkout_url": page_url} if page_url else {}))
    elif is_done:
        console.print(what_next(payment), soft_wrap=True)
    elif wanted_paid:
        remark = states.remark(payment, payment.total.currency_code)
        error_console.print(Text.assemble(("Not paid. ", "bold red"), remark or states.label(payment.state)))
        if not payment.settled:
            error_console.print(f"Try another card: {_again(payment)}", style="dim", soft_wrap=True)
    else:
        if page_url:
            console.print(Text.assemble("The payer pays here: ", (page_url, "underline")), soft_wrap=True)
        console.print(f"Waits for its payer: {_again(payment)}", soft_wrap=True)
    return Exit.OK if is_done or not wanted_paid else Exit.NOT_AS_WANTED


def what_next(payment: Payment) -> Text:
    """Return where a payment stands, and the command that one may want next."""
    command = f"{program()} {{}} {payment.payment_id}"
    match payment.state:
        case PaymentState.PAYMENT_STATE_SUCCEEDED:
            captured = money.shown(payment.snapshot.amounts.captured_minor, payment.total.currency_code)
            return Text.assemble(
                ("Paid ", "bold green"), captured, f"\n  {command.format('show')}\n  {command.format('refund')}"
            )
        case PaymentState.PAYMENT_STATE_AUTHORIZED:
            held = money.shown(payment.snapshot.amounts.capturable_minor, payment.total.currency_code)
            until = ""
            if payment.snapshot.HasField("hold_expire_time"):
                until = f" until {moments.shown(payment.snapshot.hold_expire_time)}"
            return Text.assemble(
                ("Held ", "bold blue"), f"{held}{until}\n  {command.format('capture')}\n  {command.format('cancel')}"
            )
        case PaymentState.PAYMENT_STATE_SCHEDULED:
            at = ""
            if payment.snapshot.HasField("charge_time"):
                at = f", charged at {moments.shown(payment.snapshot.charge_time)}"
            watch = f"{command.format('watch')} --until-settled"
            return Text.assemble(("Planned ", "bold cyan"), f"{total(payment)}{at}\n  {watch}")
        case PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD | PaymentState.PAYMENT_STATE_REQUIRES_ACTION:
            return Text(f"Waits for its payer: {_again(payment)}")
        case _:
            remark = states.remark(payment, payment.total.currency_code)
            return states.joined([states.label(payment.state), remark], "   ")


def _again(payment: Payment) -> str:
    return f"{program()} pay --payment {payment.payment_id} --card visa"


def _in_silence(_: Transition) -> None:
    pass

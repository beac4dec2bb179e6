"""`batzen stuck` and `batzen resolve`: payments that do not move, and what an operator decides about one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, money, options, states
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2 import ListStuckPaymentsRequest, ResolvePaymentRequest, StuckPayment
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment
from batzen.type.v1.money_pb2 import Money

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

STUCK_EPILOG: Final = """Examples:

batzen stuck

batzen stuck --for 1h --because TRANSITION_REFUSED

batzen stuck --json

Exit code 0 if nothing is stuck, 1 if something is. `batzen resolve` decides; docs/operators.md explains the reasons."""
RESOLVE_EPILOG: Final = """Examples:

batzen resolve pay_… settle --reason "the webhook was lost, INC-9"

batzen resolve pay_… refund-surplus --reason "paid twice"

batzen resolve pay_… clear --attention LATE_MONEY --reason "refunded, INC-9"

batzen resolve pay_… cancel --reason "INC-9" --yes --json

What fits how the payment stands is listed by `batzen stuck`, and by the refusal of what does not."""
PAGE_MAX: Final = 200


class Way(StrEnum):
    """What may be decided."""

    SETTLE = "settle"
    CANCEL = "cancel"
    REFUND_SURPLUS = "refund-surplus"
    GIVE_UP = "give-up"
    CLEAR = "clear"
    TRY = "try"


RESOLUTIONS: Final = {
    Way.SETTLE: pb.RESOLUTION_SETTLE_AS_SEEN,
    Way.CANCEL: pb.RESOLUTION_CANCEL,
    Way.REFUND_SURPLUS: pb.RESOLUTION_REFUND_SURPLUS,
    Way.GIVE_UP: pb.RESOLUTION_GIVE_UP_TRANSITIONS,
    Way.CLEAR: pb.RESOLUTION_CLEAR_ATTENTION,
    Way.TRY: pb.RESOLUTION_TRY_NOW,
}


def stuck(
    context: typer.Context,
    *,
    because: Annotated[str, typer.Option(metavar="REASON", show_default=False, help="Only for this reason.")] = "",
    at_least: Annotated[
        timedelta | None,
        typer.Option("--for", metavar="SPAN", parser=moments.read_span, show_default=False, help="At least: 1h, 2d."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the longest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List the payments that do not move: why, since when, what went wrong, and what may be decided."""
    age_s = 0 if at_least is None else int(at_least.total_seconds())
    request = ListStuckPaymentsRequest(reason=because, age_min_s=age_s, page_size=limit)

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.ListStuckPayments(request)
        if as_json:
            print_json([as_document(one) for one in answer.payments])
        elif answer.payments:
            for one in answer.payments:
                for line in _lines(one):
                    console.print(line, soft_wrap=True)
            if answer.next_page_token:
                console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        else:
            console.print("Nothing is stuck.", style="green")
        return Exit.NOT_AS_WANTED if answer.payments else Exit.OK

    call(context, work, as_json=as_json)


def _lines(one: StuckPayment) -> Iterator[Text]:
    payment = one.payment
    yield Text.assemble((payment.payment_id, "bold"), "   ", states.label(payment.state))
    for cause in one.causes:
        step = f": {cause.step}" if cause.step else ""
        yield Text(f"  {cause.reason} since {moments.brief(cause.since_time)}{step}", style="red")
    if one.failures or one.last_error:
        yield Text(f"  failed {one.failures} times in a row; {one.last_error or 'nothing is said of why'}")
    if one.HasField("next_try_time"):
        yield Text(f"  tried next {moments.brief(one.next_try_time)}", style="dim")
    fitting = [way for way, resolution in RESOLUTIONS.items() if resolution in one.resolutions]
    if fitting:
        yield Text(f"  may be decided: {', '.join(fitting)}", style="dim")


def resolve(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    way: Annotated[Way, typer.Argument(help="What is decided.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why, for operators; kept for ever.", show_default=False)],
    attention: Annotated[
        list[str] | None,
        typer.Option(metavar="REASON", show_default=False, help="Of `clear`: only these. May be given several times."),
    ] = None,
    surplus: Annotated[
        Money | None,
        typer.Option(
            metavar="AMOUNT",
            parser=options.read_amount,
            show_default=False,
            help="Of `refund-surplus`: what you saw. Default: what there is now.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Decide about a payment by hand. Kept for ever with who and why, and how it stood before and after."""
    if as_json and not yes:
        refuse("With --json also give --yes.")
    if attention and way is not Way.CLEAR:
        refuse("--attention is of `clear` alone.")
    if surplus is not None and way is not Way.REFUND_SURPLUS:
        refuse("--surplus is of `refund-surplus` alone.")

    async def work(client: Client, _: Connection) -> Exit:
        before = (await client.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment
        expected = surplus
        if way is Way.REFUND_SURPLUS and expected is None:
            expected = Money(
                amount_minor=before.snapshot.amounts.surplus_minor, currency_code=before.total.currency_code
            )
        if not yes:
            typer.confirm(_question(way, before, expected), abort=True)
        request = ResolvePaymentRequest(
            request_id=new_request_id(),
            payment_id=payment_id,
            resolution=RESOLUTIONS[way],
            attention_reasons=attention or (),
            expected_surplus=expected,
            actor_id=options.actor_id(actor),
            reason=reason,
        )
        after = (await client.orchestrator_ops.ResolvePayment(request)).payment
        if as_json:
            print_json(as_document(after))
        else:
            console.print(states.brief(before))
            console.print(states.brief(after))
            console.print(Text("It stands as before." if after.revision == before.revision else "Decided.", "green"))
        return Exit.OK

    call(context, work, as_json=as_json)


def _question(way: Way, payment: Payment, expected: Money | None) -> str:
    stands = f"{payment.payment_id} stands at {states.name(payment.state)}."
    if expected is not None:
        amount = money.shown(expected.amount_minor, expected.currency_code)
        return f"{stands} Give back {amount} that other attempts took?"
    said = {
        Way.SETTLE: "Read it at Stripe, and take what is seen there?",
        Way.CANCEL: "Cancel it, and release what is held?",
        Way.GIVE_UP: "Give up what status refused?",
        Way.CLEAR: "Take off what waits for an operator?",
        Way.TRY: "Try now what is to be done on it?",
    }
    return f"{stands} {said[way]}"

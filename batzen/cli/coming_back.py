"""`batzen preserve` and `resume`: a payer who goes away for a while, and comes back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, money, options, tellings
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.cli.starting import TIMINGS, When
from batzen.orchestrator.v1.orchestrator_pb2 import PreservePaymentRequest, ResumePaymentRequest
from batzen.type.v1.money_pb2 import Money

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

PRESERVE_EPILOG: Final = """Examples:

batzen preserve pay_…   (for 5 minutes)

batzen preserve pay_… --for 2h --reason "fetches a card"

Exit code 0 once it is kept; until then it does not expire."""
RESUME_EPILOG: Final = """Examples:

batzen resume pay_…   (then: batzen pay --payment pay_…)

batzen resume pay_… --timing scheduled   (where the payer may choose; `batzen pay --offer-timing`)

Exit code 0 once the payer can go on, 1 if it costs something else now."""


def preserve(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    window: Annotated[
        timedelta | None,
        typer.Option(
            "--for",
            metavar="SPAN",
            parser=moments.read_span,
            show_default="5m",
            help="How long: 10m, 2h; at most 24h.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, without personal data.", show_default=False)] = "",
    as_json: options.Json = False,
) -> None:
    """Keep a payment from expiring while its payer is away."""

    async def work(client: Client, _: Connection) -> Exit:
        request = PreservePaymentRequest(request_id=new_request_id(), payment_id=payment_id, reason=reason)
        if window is not None:
            request.window.CopyFrom(moments.duration(window))
        answer = await client.orchestrator.PreservePayment(request)
        if as_json:
            print_json(as_document(answer))
        else:
            console.print(tellings.heading(answer.payment))
            console.print(f"Kept until {moments.shown(answer.preserve_time)}.")
            console.print(tellings.what_next(answer.payment), soft_wrap=True)
        return Exit.OK

    call(context, work, as_json=as_json)


def resume(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    timing: Annotated[
        When | None, typer.Option(help="When the money is taken, as its payer chose.", show_default=False)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Let the payer go on where they left, with a fresh form or page."""

    async def work(client: Client, _: Connection) -> Exit:
        request = ResumePaymentRequest(request_id=new_request_id(), payment_id=payment_id)
        if timing is not None:
            request.timing = TIMINGS[timing]
        answer = await client.orchestrator.ResumePayment(request)
        if as_json:
            document = as_document(answer)
            document["session"].pop("client_secret", None)  # the payer's alone; it is no use in a terminal
            print_json(document)
        else:
            console.print(tellings.heading(answer.session.payment))
            if answer.price_changed:
                price = f"{_shown(answer.total_before)}, now {_shown(answer.total_now)}"
                console.print(Text.assemble(("The price has changed: ", "yellow"), price))
            tellings.tell(
                answer.session.payment, wanted_paid=False, page_url=answer.session.checkout_url, as_json=False
            )
        return Exit.NOT_AS_WANTED if answer.price_changed else Exit.OK

    call(context, work, as_json=as_json)


def _shown(amount: Money) -> str:
    return money.shown(amount.amount_minor, amount.currency_code)

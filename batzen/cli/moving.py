"""`batzen capture`, `cancel`, `retry`, `reschedule`: what moves a payment on besides its payer."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batzen._request_ids import new_request_id
from batzen.cli import options, tellings
from batzen.cli.moments import Moment, read_moment
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.orchestrator.v1.orchestrator_pb2 import (
    CancelPaymentRequest,
    CapturePaymentRequest,
    Collection,
    PaymentSession,
    ReschedulePaymentRequest,
    RetryPaymentRequest,
)
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

CAPTURE_EPILOG: Final = """Examples:

batzen capture pay_…                        (all that is held)

batzen capture pay_… --amount "30.00 CHF"   (a part, and more later)

batzen capture pay_… --amount "30.00 CHF" --final   (the rest is released)

Exit code 0 once it was taken."""
CANCEL_EPILOG: Final = """Example:

batzen cancel pay_… --reason "booked twice"

What is held is released; nothing more can be paid. Exit code 0 once Stripe has cancelled it."""
RETRY_EPILOG: Final = """Examples:

batzen retry pay_…               (a scheduled charge now, or a fresh page)

batzen retry pay_… --with form   (the site's form instead of a page)

batzen retry pay_… --with checkout

Exit code 0 once it was tried, whatever came of it; the payment's state says that."""
RESCHEDULE_EPILOG: Final = """Examples:

batzen reschedule pay_… --at 2d

batzen reschedule pay_… --at 2027-03-28T02:30   (by the clock of its zone)

Exit code 0 once it is moved."""


class Way(StrEnum):
    """How the method is collected."""

    FORM = "form"
    CHECKOUT = "checkout"


COLLECTIONS: Final = {Way.FORM: Collection.COLLECTION_ELEMENTS, Way.CHECKOUT: Collection.COLLECTION_CHECKOUT}


def capture(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    amount: Annotated[
        Money | None,
        typer.Option(
            metavar="AMOUNT",
            parser=options.read_amount,
            show_default=False,
            help="How much, exactly: '30.00 CHF'. Default: all that is held.",
        ),
    ] = None,
    final: Annotated[bool, typer.Option("--final", help="Release what is left of the hold.")] = False,
    actor: options.Actor = "",
    wait_s: options.Wait = 60,
    as_json: options.Json = False,
) -> None:
    """Take what is held, all of it or a part."""

    async def work(client: Client, _: Connection) -> Exit:
        request = CapturePaymentRequest(
            request_id=new_request_id(),
            payment_id=payment_id,
            amount=amount,
            final_capture=final,
            actor_id=options.actor_id(actor),
        )

        async def act() -> Payment:
            return (await client.orchestrator.CapturePayment(request)).payment

        return _tell(await tellings.moved(client, payment_id, act, wait_s=wait_s, as_json=as_json), as_json=as_json)

    call(context, work, as_json=as_json)


def cancel(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    reason: Annotated[str, typer.Option(help="Why, without personal data.", show_default=False)] = "",
    wait_s: options.Wait = 60,
    as_json: options.Json = False,
) -> None:
    """Cancel a payment before money is taken."""

    async def work(client: Client, _: Connection) -> Exit:
        request = CancelPaymentRequest(request_id=new_request_id(), payment_id=payment_id, reason=reason)

        async def act() -> Payment:
            return (await client.orchestrator.CancelPayment(request)).payment

        return _tell(await tellings.moved(client, payment_id, act, wait_s=wait_s, as_json=as_json), as_json=as_json)

    call(context, work, as_json=as_json)


def retry(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    way: Annotated[
        Way | None, typer.Option("--with", help="How the method is collected from now on.", show_default=False)
    ] = None,
    wait_s: options.Wait = 60,
    as_json: options.Json = False,
) -> None:
    """Try again now: a scheduled charge, or a fresh page or form for the payer."""

    async def work(client: Client, _: Connection) -> Exit:
        request = RetryPaymentRequest(request_id=new_request_id(), payment_id=payment_id)
        if way is not None:
            request.collection = COLLECTIONS[way]
        session = PaymentSession()

        async def act() -> Payment:
            answer = await client.orchestrator.RetryPayment(request)
            session.CopyFrom(answer.session)
            return answer.payment

        payment = await tellings.moved(client, payment_id, act, wait_s=wait_s, as_json=as_json)
        return tellings.tell(payment, wanted_paid=False, page_url=session.checkout_url, as_json=as_json)

    call(context, work, as_json=as_json)


def reschedule(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    at: Annotated[
        Moment,
        typer.Option(
            metavar="WHEN", parser=read_moment, help="10s, 2d, or 2026-12-24T18:00 by the clock of the payment's zone."
        ),
    ],
    wait_s: options.Wait = 60,
    as_json: options.Json = False,
) -> None:
    """Move a scheduled charge that has not begun."""
    request = ReschedulePaymentRequest(
        request_id=new_request_id(), payment_id=payment_id, charge_local_time=at.local_time
    )
    if not at.local_time:
        request.charge_time.CopyFrom(at.timestamp())

    async def work(client: Client, _: Connection) -> Exit:
        async def act() -> Payment:
            return (await client.orchestrator.ReschedulePayment(request)).payment

        return _tell(await tellings.moved(client, payment_id, act, wait_s=wait_s, as_json=as_json), as_json=as_json)

    call(context, work, as_json=as_json)


def _tell(payment: Payment, *, as_json: bool) -> Exit:
    if as_json:
        print_json(as_document(payment))
    else:
        console.print(tellings.what_next(payment), soft_wrap=True)
    return Exit.OK

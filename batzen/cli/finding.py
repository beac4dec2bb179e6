"""`batzen find` and `attach-booking`: payments and what callers know them by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from batzen._request_ids import new_request_id
from batzen.cli import options, tellings
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.cli.reading import print_payments
from batzen.orchestrator.v1.orchestrator_pb2 import AttachBookingRequest, FindPaymentsRequest

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

FIND_EPILOG: Final = """Examples:

batzen find --booking booking_7

batzen find --stripe cs_…                   (or pi_…, seti_…, ch_…, re_…)

batzen find --reference order-12 --json

Exit code 0 if there are some, 1 if there are none."""
ATTACH_EPILOG: Final = """Example:

batzen attach-booking pay_… booking_7 booking_8"""


def find(
    context: typer.Context,
    *,
    booking: Annotated[str, typer.Option(metavar="BOOKING_ID", show_default=False, help="By a booking.")] = "",
    reference: Annotated[
        str, typer.Option(metavar="REFERENCE", show_default=False, help="By the caller's own reference.")
    ] = "",
    stripe: Annotated[str, typer.Option(metavar="ID", show_default=False, help="By any id at Stripe.")] = "",
    request: Annotated[
        str, typer.Option(metavar="REQUEST_ID", show_default=False, help="By the id of the start; your own alone.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Find payments by what they are known by."""
    by = {"booking_id": booking, "client_reference": reference, "stripe_id": stripe, "start_request_id": request}
    named = {field: value for field, value in by.items() if value}
    if len(named) != 1:
        refuse("Give one of --booking, --reference, --stripe, --request.")

    async def work(client: Client, _: Connection) -> Exit:
        found = (await client.orchestrator.FindPayments(FindPaymentsRequest(**named))).payments
        if as_json:
            print_json([as_document(payment) for payment in found])
        elif found:
            print_payments(found)
        else:
            console.print("There are none.")
        return Exit.OK if found else Exit.NOT_AS_WANTED

    call(context, work, as_json=as_json)


def attach_booking(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    booking_ids: Annotated[
        list[str], typer.Argument(metavar="BOOKING_ID...", help="What it pays for.", show_default=False)
    ],
    as_json: options.Json = False,
) -> None:
    """Say which bookings a payment pays for; those it has stay."""

    async def work(client: Client, _: Connection) -> Exit:
        request = AttachBookingRequest(request_id=new_request_id(), payment_id=payment_id, booking_ids=booking_ids)
        payment = (await client.orchestrator.AttachBooking(request)).payment
        if as_json:
            print_json(as_document(payment))
        else:
            console.print(tellings.heading(payment))
            console.print(f"It pays for {', '.join(payment.booking_ids)}.")
        return Exit.OK

    call(context, work, as_json=as_json)

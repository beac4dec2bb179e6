"""`batzen doctor`: whether all records of a payment agree, and of which recent payments they do not, for operators."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from batzen.cli import moments, options
from batzen.cli.diagnosis_view import lines
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.cli.program import program
from batzen.orchestrator.v1.ops_pb2 import (
    DiagnosePaymentRequest,
    FoundDisagreement,
    ListDisagreementsRequest,
    ListDisagreementsResponse,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

EPILOG: Final = """Examples:

batzen doctor pay_…

batzen doctor pay_… --without-stripe   (our own records alone)

batzen doctor pay_… --json

batzen doctor   (of which recent payments the hourly round found records that disagree)

It changes nothing. Exit code 0 when all records agree, 1 when some do not. docs/doctor.md lists the checks."""
PAGE_MAX: Final = 200


def doctor(
    context: typer.Context,
    *,
    payment_id: Annotated[
        str, typer.Argument(metavar="[PAYMENT_ID]", help="Its id, pay_…; none for all recent ones.", show_default=False)
    ] = "",
    without_stripe: Annotated[bool, typer.Option("--without-stripe", help="Do not read Stripe.")] = False,
    as_json: options.Json = False,
) -> None:
    """Read every record of a payment, and say where they disagree and what would be done."""

    async def of_one(client: Client, _: Connection) -> Exit:
        request = DiagnosePaymentRequest(payment_id=payment_id, with_stripe=not without_stripe)
        diagnosis = (await client.orchestrator_ops.DiagnosePayment(request)).diagnosis
        if as_json:
            print_json(as_document(diagnosis))
        else:
            for line, style in lines(diagnosis, batzen=program()):
                console.print(Text(line, style=style), soft_wrap=True)
        return Exit.NOT_AS_WANTED if diagnosis.disagreements else Exit.OK

    async def of_recent(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.ListDisagreements(ListDisagreementsRequest(page_size=PAGE_MAX))
        if as_json:
            print_json(as_document(answer))
        else:
            _tell(answer)
        return Exit.NOT_AS_WANTED if any(one.stands for one in answer.disagreements) else Exit.OK

    call(context, of_one if payment_id else of_recent, as_json=as_json)


def _tell(answer: ListDisagreementsResponse) -> None:
    for payment_id, found in groupby(answer.disagreements, key=lambda one: one.payment_id):
        console.print(Text(payment_id, style="bold"), soft_wrap=True)
        for one in found:
            console.print(Text(f"  {one.check}  {one.about}".rstrip(), style="red" if one.stands else "yellow"))
            console.print(Text(f"    since {moments.brief(one.first_time)}{_because(one)}", style="dim"))
    if not answer.disagreements:
        console.print("Nothing was found in recent payments.", style="green")
    if answer.next_page_token:
        console.print(f"There are more than these {PAGE_MAX}.", style="dim")
    if answer.HasField("finish_time"):
        console.print(f"The last round ended {moments.brief(answer.finish_time)}.", style="dim")
    else:
        console.print("No round through recent payments came to its end yet.", style="dim")


def _because(one: FoundDisagreement) -> str:
    if one.stands:
        return ""
    return ", something is on its way" if one.waits else ", too young to be sure"

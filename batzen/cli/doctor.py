"""`batzen doctor`: whether all records of a payment agree, for operators."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.text import Text

from batzen.cli import options
from batzen.cli.connection import Connection
from batzen.cli.diagnosis_view import lines
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.client import Client
from batzen.orchestrator.v1.ops_pb2 import DiagnosePaymentRequest

EPILOG: Final = """Examples:

batzen doctor pay_…

batzen doctor pay_… --without-stripe   (our own records alone)

batzen doctor pay_… --json

It changes nothing. Exit code 0 when all records agree, 1 when some do not. docs/doctor.md lists the checks."""


def doctor(
    context: typer.Context,
    *,
    payment_id: options.PaymentId,
    without_stripe: Annotated[bool, typer.Option("--without-stripe", help="Do not read Stripe.")] = False,
    as_json: options.Json = False,
) -> None:
    """Read every record of a payment, and say where they disagree and what would be done."""
    request = DiagnosePaymentRequest(payment_id=payment_id, with_stripe=not without_stripe)

    async def work(client: Client, _: Connection) -> Exit:
        diagnosis = (await client.orchestrator_ops.DiagnosePayment(request)).diagnosis
        if as_json:
            print_json(as_document(diagnosis))
        else:
            for line, style in lines(diagnosis):
                console.print(Text(line, style=style), soft_wrap=True)
        return Exit.NOT_AS_WANTED if diagnosis.disagreements else Exit.OK

    call(context, work, as_json=as_json)

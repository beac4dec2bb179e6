"""`batzen erase-payer`: what is known of a payer as a person is destroyed, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import options
from batzen.cli.moments import shown
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.gateway.v1.ops_pb2 import ErasePayerRequest

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

EPILOG: Final = """Example:

batzen erase-payer payer_7 --yes

Exit code 0 once nothing is left to do; 1 while Stripe has not deleted the customer, which goes on by itself."""


def erase_payer(
    context: typer.Context,
    *,
    payer_id: Annotated[str, typer.Argument(metavar="PAYER_ID", help="Who is erased.", show_default=False)],
    actor: options.Actor = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: nothing takes it back.")] = False,
    request_id: Annotated[
        str, typer.Option(metavar="REQUEST_ID", show_default=False, help="Of an erasure that was asked for before.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Destroy a payer's personal data, here and at Stripe; the books stay."""
    if not yes:
        if as_json:
            refuse("With --json also give --yes: nothing takes it back.")
        typer.confirm(f"Destroy the personal data of {payer_id}? Nothing takes it back.", abort=True)
    request = ErasePayerRequest(
        request_id=request_id or new_request_id(), payer_id=payer_id, actor_id=options.actor_id(actor)
    )

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.gateway_ops.ErasePayer(request)
        if as_json:
            print_json({"request_id": request.request_id, **as_document(answer)})
            return Exit.OK if answer.done else Exit.NOT_AS_WANTED
        if answer.done:
            console.print(Text("✓ Erased.", style="green"))
        else:
            console.print("The key is destroyed. Stripe has not deleted the customer yet; it is asked again.")
            console.print(f"  --request-id {request.request_id} says later how far it is.", style="dim")
        for one in answer.kept:
            console.print(Text(f"  kept{_until(one.until_time)}: {one.why}", style="dim"))
        return Exit.OK if answer.done else Exit.NOT_AS_WANTED

    call(context, work, as_json=as_json)


def _until(time: Timestamp) -> str:
    return f" until {shown(time)}" if time.seconds else ""

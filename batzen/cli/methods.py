"""`batzen methods`: what a payer keeps to pay with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import options
from batzen.cli.authentication import authenticate
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, error_console, print_json
from batzen.cli.program import program
from batzen.cli.starting import RETURN_URL
from batzen.gateway.v1.observation_pb2 import IntentState
from batzen.gateway.v1.payer_pb2 import Payer
from batzen.gateway.v1.payment_methods_pb2 import (
    AttachPaymentMethodRequest,
    CreateSetupIntentRequest,
    DetachPaymentMethodRequest,
    GetSetupIntentRequest,
    ListPaymentMethodsRequest,
    PaymentMethod,
    SetDefaultPaymentMethodRequest,
    SetupIntent,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Example:

batzen methods list payer_1"""
ADD_EPILOG: Final = """Examples:

batzen methods add payer_1 --card visa

batzen methods add payer_1 --card 3ds --setup --3ds succeed

Exit code 0 once it is kept, 1 if not."""
REMOVE_EPILOG: Final = """Example:

batzen methods remove payer_1 pm_…

One that a payment is still to be charged with stays; the refusal names the payment."""
DEFAULT_EPILOG: Final = """Example:

batzen methods default payer_1 pm_…"""

app = Commands(help="What payers keep to pay with.")
PayerId = Annotated[str, typer.Argument(metavar="PAYER_ID", help="Whose.", show_default=False)]
MethodId = Annotated[str, typer.Argument(metavar="METHOD_ID", help="Which, pm_…", show_default=False)]
Email = Annotated[str, typer.Option(help="The payer's address, for Stripe's customer.", show_default=False)]


@app.command("list", epilog=LIST_EPILOG)
def list_methods(context: typer.Context, *, payer_id: PayerId, as_json: options.Json = False) -> None:
    """Show what a payer keeps, the default first."""

    async def work(client: Client, _: Connection) -> Exit:
        request = ListPaymentMethodsRequest(payer_id=payer_id)
        kept = (await client.payment_methods.ListPaymentMethods(request)).payment_methods
        if as_json:
            print_json([as_document(method) for method in kept])
        elif kept:
            console.print(_table(list(kept)))
        else:
            console.print(f"None. Keep one: {program()} methods add {payer_id} --card visa", soft_wrap=True)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=ADD_EPILOG)
def add(
    context: typer.Context,
    *,
    payer_id: PayerId,
    card: Annotated[
        str, typer.Option(metavar="CARD", parser=options.read_card, help="A test card by name or id, as of `pay`.")
    ] = "visa",
    setup: Annotated[
        bool, typer.Option("--setup", help="With a setup intent, for which the payer's bank may ask.")
    ] = False,
    three_ds: options.ThreeDs = None,
    email: Email = "",
    as_json: options.Json = False,
) -> None:
    """Keep a method for later charges without the payer, who agreed to that."""
    payer = Payer(payer_id=payer_id, email=email)

    async def attached(client: Client) -> PaymentMethod:
        request = AttachPaymentMethodRequest(request_id=new_request_id(), payer=payer, payment_method_id=card)
        return (await client.payment_methods.AttachPaymentMethod(request)).payment_method

    async def work(client: Client, connection: Connection) -> Exit:
        if not setup:
            _tell(await attached(client), as_json=as_json)
            return Exit.OK
        request = CreateSetupIntentRequest(
            request_id=new_request_id(), payer=payer, payment_method_id=card, return_url=RETURN_URL
        )
        answer = await client.payment_methods.CreateSetupIntent(request)
        made, page_url = answer.setup_intent, answer.next_action.redirect_url
        if page_url and three_ds is not None:
            await authenticate(page_url, three_ds)
            # Read at Stripe, as with the secret: the webhook says the same, in whichever order.
            again = GetSetupIntentRequest(setup_intent_id=made.setup_intent_id, with_secret=True)
            answered = await client.payment_methods.GetSetupIntent(again)
            made, page_url = answered.setup_intent, answered.next_action.redirect_url
        return _tell_setup(made, page_url, is_page_played=connection.stand_in_url is not None, as_json=as_json)

    call(context, work, as_json=as_json)


@app.command(epilog=REMOVE_EPILOG)
def remove(context: typer.Context, *, payer_id: PayerId, method_id: MethodId, as_json: options.Json = False) -> None:
    """Forget a method for good."""

    async def work(client: Client, _: Connection) -> Exit:
        request = DetachPaymentMethodRequest(
            request_id=new_request_id(), payer_id=payer_id, payment_method_id=method_id
        )
        answer = await client.payment_methods.DetachPaymentMethod(request)
        if as_json:
            print_json(as_document(answer))
        else:
            console.print(f"{method_id} is forgotten.")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=DEFAULT_EPILOG)
def default(context: typer.Context, *, payer_id: PayerId, method_id: MethodId, as_json: options.Json = False) -> None:
    """Make a method the one that is used where none is named."""

    async def work(client: Client, _: Connection) -> Exit:
        request = SetDefaultPaymentMethodRequest(
            request_id=new_request_id(), payer_id=payer_id, payment_method_id=method_id
        )
        _tell((await client.payment_methods.SetDefaultPaymentMethod(request)).payment_method, as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


def _tell(method: PaymentMethod, *, as_json: bool) -> None:
    if as_json:
        print_json(as_document(method))
    else:
        console.print(_table([method]))


def _tell_setup(made: SetupIntent, page_url: str, *, is_page_played: bool, as_json: bool) -> Exit:
    """Say whether the method is kept, and what is missing."""
    is_kept = made.state == IntentState.INTENT_STATE_SUCCEEDED
    if as_json:
        print_json(as_document(made) | ({"redirect_url": page_url} if page_url else {}))
    elif is_kept:
        console.print(_table([made.payment_method]))
    elif page_url:
        error_console.print(Text.assemble("The payer has to authenticate: ", (page_url, "underline")), soft_wrap=True)
        instead = " Or use --3ds succeed." if is_page_played else ""
        error_console.print(f"Open it in a browser, then list the methods.{instead}", style="dim")
    else:
        error_console.print(Text.assemble(("Not kept. ", "bold red"), made.last_error.message))
    return Exit.OK if is_kept else Exit.NOT_AS_WANTED


def _table(methods: list[PaymentMethod]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("method", "kind", "", "good until", ""):
        table.add_column(title, no_wrap=True)
    for method in methods:
        until = f"{method.expire_month:02}/{method.expire_year}" if method.expire_year else ""
        remarks = [word for word, applies in (("default", method.default), ("expired", method.expired)) if applies]
        table.add_row(
            method.payment_method_id,
            method.brand or method.type,
            f"•••• {method.last4}" if method.last4 else "",
            until,
            Text(", ".join(remarks), style="red" if method.expired else "green"),
        )
    return table

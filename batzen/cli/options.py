"""Options that several commands share."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from batzen.cli import money
from batzen.cli.authentication import Outcome
from batzen.cli.cards import payment_method_id
from batzen.type.v1.money_pb2 import Money


def read_amount(text: str) -> Money:
    try:
        amount = money.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if amount.amount_minor == 0:
        raise typer.BadParameter("The amount must be above zero.")
    return amount


def read_named_amount(text: str) -> tuple[str, Money]:
    """Read what stands before and after the equals sign: `seller_1=20.00 CHF`."""
    name, equals, amount = text.partition("=")
    if not (equals and name.strip()):
        raise typer.BadParameter(f"{text!r} has no name before its amount; write it as '{text or 'NAME'}=20.00 CHF'.")
    return name.strip(), read_amount(amount)


def read_card(text: str) -> str:
    try:
        return payment_method_id(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]
PaymentId = Annotated[str, typer.Argument(metavar="PAYMENT_ID", help="Its id, pay_…", show_default=False)]
Amount = Annotated[
    Money,
    typer.Option(
        "--amount", metavar="AMOUNT", parser=read_amount, show_default=False,
        help="How much, exactly, with the currency: '100.00 CHF'.",
    ),
]  # fmt: skip
SellerId = Annotated[
    str | None,
    typer.Option(
        "--seller", metavar="SELLER_ID", show_default=False, help="Who sells. Default: the seller that `make up` made."
    ),
]
Actor = Annotated[
    str, typer.Option("--actor", metavar="ACTOR_ID", show_default="who you are on this machine", help="Who decided.")
]
ThreeDs = Annotated[
    Outcome | None, typer.Option("--3ds", help="What the payer does when asked to authenticate.", show_default=False)
]
Wait = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for the end.")]


def actor_id(given: str) -> str:
    """Return who decided, by default whoever sits at this machine."""
    return given or f"cli:{getpass.getuser()}"

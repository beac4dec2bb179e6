"""`batzen pay`: start a payment, play the payer, and show what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo

import typer

from batzen.cli import options, tellings
from batzen.cli.cards import CARDS
from batzen.cli.follow import at_least, following, is_decided
from batzen.cli.moments import DEFAULT_ZONE, Moment, read_moment, read_zone
from batzen.cli.output import Exit, call, console, error_console, refuse
from batzen.cli.paying import Payer, session_of
from batzen.cli.program import program
from batzen.cli.starting import Sale, Wanted, When, start
from batzen.cli.stream import StreamPrinter
from batzen.orchestrator.v1.orchestrator_pb2 import PaymentSession
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentState

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

CARD_USUAL: Final = "visa"
AMOUNTS: Final = "from 0.50 to 999'999.99 CHF or EUR"
SELLERS_MAX: Final = 100
BOOKINGS_MAX: Final = 100
NAME_CHARACTERS_MAX: Final = 200
AHEAD_DAYS_MAX: Final = 366
HOLD_DAYS_MAX: Final = 31
"""What the services refuse beyond; a test holds these to theirs."""
EPILOG: Final = f"""Examples:

batzen pay --amount "100.00 CHF"

batzen pay --amount "25 EUR" --seller seller_1 --card insufficient

batzen pay --sale "anna=100.00 CHF" --sale "bruno=50.00 CHF"   (two sellers)

batzen pay --amount "80 CHF" --card 3ds --3ds succeed

batzen pay --amount "200 CHF" --timing hold   (then: batzen capture pay_…)

batzen pay --amount "60 CHF" --timing scheduled --at 10s

batzen pay --amount "60 CHF" --timing scheduled --at 2027-03-28T02:30

batzen pay --amount "60 CHF" --offer-timing scheduled --at 2d --start-only   (then: batzen resume)

batzen pay --amount "80 CHF" --checkout       (waits for you to pay there)

batzen pay --amount "80 CHF" --checkout --card 3ds --3ds succeed

batzen pay --amount "80 EUR" --checkout --card sepa   (a debit, for days)

batzen pay --payment pay_… --card visa        (again, with another card)

Cards: {", ".join(CARDS)}; or any id of a test method, such as pm_card_visa.

Limits, refused before there is a payment: {AMOUNTS}, of another currency as the refusal says;
{SELLERS_MAX} sellers, {BOOKINGS_MAX} bookings, {NAME_CHARACTERS_MAX} characters of --name;
--at up to {AHEAD_DAYS_MAX} days ahead. A card's hold lasts about 7 days, at most {HOLD_DAYS_MAX}.

Exit code 0 once paid, held or planned as asked, 1 if not."""


def pay(
    context: typer.Context,
    *,
    amount: Annotated[
        Money | None,
        typer.Option(
            metavar="AMOUNT",
            parser=options.read_amount,
            show_default=False,
            help="How much, exactly, with the currency: '100.00 CHF'.",
        ),
    ] = None,
    seller: options.SellerId = None,
    sale: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SELLER_ID=AMOUNT",
            show_default=False,
            help="Instead of --amount: what one of several sellers sells.",
        ),
    ] = None,
    session_type: Annotated[
        str, typer.Option(metavar="TYPE", show_default=False, help="Which policies hold; `batzen policies`.")
    ] = "",
    payer: Annotated[str, typer.Option(metavar="PAYER_ID", help="Who pays.")] = "payer_1",
    email: Annotated[
        str, typer.Option(metavar="ADDRESS", show_default=False, help="Where the payer is told of it.")
    ] = "",
    locale: Annotated[
        str, typer.Option(metavar="LOCALE", show_default=False, help="In which language: de-CH, fr, it, en.")
    ] = "",
    card: Annotated[
        str | None,
        typer.Option(
            metavar="CARD",
            parser=options.read_card,
            show_default=CARD_USUAL,
            help="A test card by name or id; see below. On a page there is none by default: a person pays there.",
        ),
    ] = None,
    three_ds: options.ThreeDs = None,
    name: Annotated[str, typer.Option(help="What is paid for, as the payer sees it.")] = "A session",
    booking: Annotated[
        list[str] | None, typer.Option(metavar="BOOKING_ID", help="A booking it pays for; may be repeated.")
    ] = None,
    reference: Annotated[str, typer.Option(metavar="REFERENCE", help="A reference of yours.")] = "",
    timing: Annotated[When, typer.Option(help="When the money is taken.")] = When.NOW,
    offer_timing: Annotated[
        list[When] | None,
        typer.Option(help="What the payer may choose instead; may be repeated.", show_default=False),
    ] = None,
    at: Annotated[
        Moment | None,
        typer.Option(
            metavar="WHEN",
            parser=read_moment,
            show_default=False,
            help="When a scheduled charge is made: 10s, 2d, or 2026-12-24T18:00 by the clock of --zone.",
        ),
    ] = None,
    zone: Annotated[
        ZoneInfo, typer.Option(metavar="ZONE", parser=read_zone, help="The seller's zone, whose clock is meant.")
    ] = DEFAULT_ZONE,  # type: ignore[assignment]
    capture_at: Annotated[
        Moment | None,
        typer.Option(
            metavar="WHEN", parser=read_moment, show_default=False, help="When a hold is captured by itself, as --at."
        ),
    ] = None,
    release: Annotated[bool, typer.Option("--release", help="A hold is released before it would lapse.")] = False,
    checkout: Annotated[
        bool, typer.Option("--checkout", help="On the hosted page, instead of the site's form.")
    ] = False,
    keep_method: Annotated[
        bool, typer.Option("--keep-method", help="The payer agrees that their method is kept for later.")
    ] = False,
    payment: Annotated[
        str | None,
        typer.Option(
            metavar="PAYMENT_ID",
            show_default=False,
            help="Try again with a payment that was started, instead of a new one.",
        ),
    ] = None,
    start_only: Annotated[bool, typer.Option("--start-only", help="Leave it to somebody else to pay.")] = False,
    wait_s: options.Wait = 60,
    as_json: options.Json = False,
) -> None:
    """Take a payment with a test card and watch it move."""
    if [amount is None, not sale, payment is None].count(False) != 1:
        refuse("Give --amount or --sale for a new payment, or --payment for one that was started.")
    if sale and seller:
        refuse("--sale names the sellers; leave --seller out.")
    sales = tuple(Sale(*options.read_named_amount(text)) for text in sale or [])
    possible = {timing, *(offer_timing or [])}
    if (at is not None) != (When.SCHEDULED in possible):
        refuse("Give --at with --timing scheduled, or where that is offered, and only then.")
    if (capture_at is not None or release) and When.HOLD not in possible:
        refuse("--capture-at and --release are for --timing hold, or where that is offered.")

    async def work(client: Client, connection: Connection) -> Exit:
        if payment is not None:
            session = await session_of(client, payment)
        else:
            sold = sales or _sold(amount, seller or connection.seller_id)
            if not sold:
                error_console.print(
                    f"Name a seller with --seller; `{program()} sellers put --help` says how to make one."
                )
                return Exit.USAGE
            wanted = Wanted(
                sales=sold,
                session_type=session_type,
                payer_id=payer,
                email=email,
                locale=locale,
                name=name,
                booking_ids=tuple(booking or ()),
                client_reference=reference,
                when=timing,
                offered=tuple(offer_timing or ()),
                charge_at=at,
                capture_at=capture_at,
                release_before_lapse=release,
                zone=zone,
                on_page=checkout,
                keep_method=keep_method,
            )
            session = await start(client, wanted)
        playing = Payer(
            card=card or _usual(session),
            three_ds=three_ds,
            keep_method=keep_method,
            wait_s=wait_s,
            is_page_played=connection.stand_in_url is not None,
        )
        is_left = start_only or (payment is None and session.payment.settled)
        return await _show(client, session, None if is_left else playing, wait_s=wait_s, as_json=as_json)

    call(context, work, as_json=as_json)


async def _show(
    client: Client, session: PaymentSession, playing: Payer | None, *, wait_s: float, as_json: bool
) -> Exit:
    """Follow the payment while its payer pays, or until it waits for them; say how it ended."""
    begun = session.payment
    printer = StreamPrinter(as_json=False, currency_code=begun.total.currency_code) if not as_json else None
    if printer is not None:
        console.print(tellings.heading(begun))
    async with following(client, begun.payment_id, heard=printer or _in_silence) as journey:
        if playing is None:
            ended = await journey.until(at_least(begun.revision, is_decided), timeout_s=wait_s)
        else:
            ended = await playing.pay(client, journey, session)
    payment = await tellings.newest(client, ended.payment_id)
    page_url = session.checkout_url if playing is None else ""
    return tellings.tell(payment, wanted_paid=playing is not None, page_url=page_url, as_json=as_json)


def _sold(amount: Money | None, seller_id: str | None) -> tuple[Sale, ...]:
    """Return what one seller sells; nothing where nobody says who."""
    return (Sale(seller_id, amount),) if amount is not None and seller_id is not None else ()


def _usual(session: PaymentSession) -> str | None:
    """Return what the payer takes where nobody says: nothing on a page, and the method that their bank asks about."""
    if session.checkout_url:
        return None
    asked_about = session.payment.state == PaymentState.PAYMENT_STATE_REQUIRES_ACTION
    return (asked_about and session.payment.snapshot.method.payment_method_id) or options.read_card(CARD_USUAL)


def _in_silence(_: object) -> None:
    pass

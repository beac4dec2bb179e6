"""`batzen trigger`: something to look at on a suite that is up, a whole journey or what Stripe does to one payment."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from batzen.cli import money, states, tellings
from batzen.cli.connection import Connection
from batzen.cli.follow import following
from batzen.cli.journey import StillRunning
from batzen.cli.output import Exit, as_document, console, error_console, print_json
from batzen.cli.program import program
from batzen.client import Client
from batzen.gateway.v1.ops_pb2 import ListAttemptsRequest
from local.connection_file import own_connection
from local.demo_view import DemoView, Shown, document
from local.play_one import play_one
from local.record import Record
from local.scenarios import SCENARIOS, Scenario
from local.scenarios.sellers import SELLERS
from local.start import add_seller
from sandbox.control import SandboxControl
from sandbox.control_client import Refused

MOVES_WITHIN_S: Final = 2.0
"""After an event was taken; a payment that it moves takes some 50 ms."""
NOT_OURS: Final = (
    "This is for the suite that `make up` started in this checkout, and for no other: it makes sellers and payments. "
    "Start it, and name no addresses (BATZEN_<NAME>_ADDRESS, BATZEN_CONNECTION) that lead elsewhere."
)

Act = Callable[[SandboxControl, str], Awaitable[object]]
"""Does something at the stand-in to an intent."""


async def _dispute_moved(stand_in: SandboxControl, intent_id: str, status: str) -> object:
    found = await stand_in.objects("dispute", payment_intent=intent_id)
    if not found:
        raise Refused("It is not disputed; trigger `dispute` first.", status=404)
    return await stand_in.move_dispute(found[-1]["id"], status)


@dataclass(frozen=True, slots=True)
class Event:
    """What can happen to a payment at Stripe."""

    says: str
    act: Act


EVENTS: Final[Mapping[str, Event]] = {
    "dispute": Event("the payer's bank disputes it", lambda stand_in, intent: stand_in.dispute(intent)),
    "dispute-won": Event("the bank decides for us", lambda stand_in, intent: _dispute_moved(stand_in, intent, "won")),
    "dispute-lost": Event(
        "the bank decides for the payer", lambda stand_in, intent: _dispute_moved(stand_in, intent, "lost")
    ),
    "inquiry": Event("the bank only asks about it", lambda stand_in, intent: stand_in.dispute(intent, inquiry=True)),
    "fraud-warning": Event("the card's issuer warns of fraud", lambda stand_in, intent: stand_in.warn_of_fraud(intent)),
    "review": Event("Stripe puts it under review", lambda stand_in, intent: stand_in.open_review(intent)),
    "dashboard-refund": Event("somebody refunds it at Stripe", lambda stand_in, intent: stand_in.refund(intent)),
    "dashboard-cancel": Event("somebody cancels it at Stripe", lambda stand_in, intent: stand_in.cancel(intent)),
    "hold-lapse": Event("its hold lapses now", lambda stand_in, intent: stand_in.lapse_hold(intent)),
    "debit-finish": Event("a debit comes to its end now", lambda stand_in, intent: stand_in.finish_debit(intent)),
}
JOURNEYS: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in SCENARIOS if scenario.name}


def show_all(*, as_json: bool) -> Exit:
    """List what can be triggered."""
    if as_json:
        journeys = {name: scenario.title for name, scenario in JOURNEYS.items()}
        print_json({"journeys": journeys, "events": {name: event.says for name, event in EVENTS.items()}})
        return Exit.OK
    console.print(Text(f"Journeys: {program()} trigger NAME", style="bold"))
    for name, scenario in JOURNEYS.items():
        console.print(Text(f"  {name:<20}{scenario.title}"))
    console.print(Text(f"Events of a payment: {program()} trigger NAME --payment pay_…", style="bold"))
    for name, event in EVENTS.items():
        console.print(Text(f"  {name:<20}{event.says}"))
    return Exit.OK


async def trigger(
    client: Client, connection: Connection, name: str, *, state: Path, payment_id: str, as_json: bool
) -> Exit:
    """Play a journey, or let an event happen to a payment; say what came of it.

    Only on the suite that `state` says is up: a journey makes sellers and payments, which nobody wants elsewhere.
    """
    # Whoever has a checkout plays all of its people: the shop starts what the payer pays.
    ours = own_connection(state, addresses=connection.addresses, role="service")
    if ours is None:
        error_console.print(NOT_OURS)
        return Exit.NOT_AS_WANTED
    async with AsyncExitStack() as stack:
        stand_in = None
        if ours.stand_in_url is not None:
            stand_in = await stack.enter_async_context(SandboxControl(ours.stand_in_url))
        if name in JOURNEYS:
            shop = await stack.enter_async_context(ours.client())
            return await _play(shop, JOURNEYS[name], ours, stand_in, as_json=as_json)
        if stand_in is None:
            error_console.print("Only what stands for Stripe lets one do that. At Stripe itself its dashboard does.")
            return Exit.NOT_AS_WANTED
        return await _happen(client, EVENTS[name], stand_in, payment_id, as_json=as_json)


async def _play(
    shop: Client, scenario: Scenario, connection: Connection, stand_in: SandboxControl | None, *, as_json: bool
) -> Exit:
    if scenario.is_of_stand_in and stand_in is None:
        error_console.print(
            f"This needs pages that only the stand-in lets one complete. To pay yourself: {program()} pay --checkout"
        )
        return Exit.NOT_AS_WANTED
    seller_id = connection.seller_id or SELLERS[0]
    for one in (seller_id, *(sale.seller_id for sale in scenario.start.cart)):
        await add_seller(shop, one)
    record = Record(total=money.parse(scenario.amount))
    shown = Shown(number=1, title=scenario.title, wanted=scenario.wanted, record=record)
    view = None if as_json else DemoView(console)

    async def stripe_seconds() -> float | None:
        return None

    if view is not None:
        view.begin(shown)
    await play_one(
        shop,
        scenario,
        shown,
        seller_id=seller_id,
        stand_in=stand_in,
        stripe_seconds=stripe_seconds,
        changed=lambda: view.changed(shown) if view is not None else None,
    )
    if view is not None:
        view.end(shown)
        console.print(f"All of it: {program()} show {record.payment.payment_id}", soft_wrap=True)
    else:
        print_json(document(shown))
    return Exit.OK if shown.is_as_wanted else Exit.NOT_AS_WANTED


async def _happen(client: Client, event: Event, stand_in: SandboxControl, payment_id: str, *, as_json: bool) -> Exit:
    intents = await _intents(client, payment_id)
    if not intents:
        error_console.print("Nothing of it is at Stripe yet; pay it first.")
        return Exit.NOT_AS_WANTED
    before = await tellings.newest(client, payment_id)
    async with following(client, payment_id, after_revision=before.revision) as journey:
        try:
            done: Any = await event.act(stand_in, intents[-1])
        except Refused as error:
            error_console.print(Text(f"The stand-in refuses: {error}", style="red"))
            return Exit.NOT_AS_WANTED
        await stand_in.drain()  # the gateway has taken every event of it
        with contextlib.suppress(StillRunning):  # not every event moves the payment
            await journey.until(lambda _: True, timeout_s=MOVES_WITHIN_S)
    payment = await tellings.newest(client, payment_id)
    if as_json:
        print_json({"object": done, "payment": as_document(payment)})
        return Exit.OK
    console.print(Text(f"→ {event.says}: {done['id']}"))
    console.print(tellings.heading(payment))
    remark = states.remark(payment, payment.total.currency_code)
    console.print(states.joined([states.label(payment.state), remark], "  "), soft_wrap=True)
    console.print(f"All of it: {program()} show {payment_id}", soft_wrap=True)
    return Exit.OK


async def _intents(client: Client, payment_id: str) -> list[str]:
    """Return the intents of a payment, that which counts last."""
    attempts = (await client.gateway_ops.ListAttempts(ListAttemptsRequest(payment_id=payment_id))).attempts
    return [one.intent_id for one in sorted(attempts, key=lambda one: one.counts) if one.intent_id]

"""`batzen show`: all that is known of one payment, on one page."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from batzen.cli import money, options, states, tellings
from batzen.cli.attempts import attempt_lines, event_lines
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.gateway.v1 import ops_pb2 as gateway_pb
from batzen.status.v1.status_pb2 import ListTransitionsRequest, Payment, Transition

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

EPILOG: Final = """Examples:

batzen show pay_…

batzen show pay_… --json

Attempts, events and the ledger are for operators; others see the payment and its history. `batzen doctor` compares it
all with Stripe."""
PAGE_MAX: Final = 500
"""Transitions, and entries of the ledger, that are asked for at once."""
EVENTS_MAX: Final = 200
PAGES_MAX: Final = 20
"""10,000 of each: no payment has as many."""
INDENT: Final = 2

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the services say of a payment. What only operators may see is None for anyone else."""

    payment: Payment
    transitions: Sequence[Transition]
    attempts: gateway_pb.ListAttemptsResponse | None
    events: Sequence[gateway_pb.WebhookEvent] | None
    entries: Sequence[gateway_pb.LedgerEntry] | None


def show(context: typer.Context, *, payment_id: options.PaymentId, as_json: options.Json = False) -> None:
    """Show a payment: amounts, history, attempts at Stripe, Stripe's events, and what was booked."""

    async def work(client: Client, _: Connection) -> Exit:
        import asyncio  # noqa: PLC0415 help needs no loop and no client, and starts faster

        payment = await tellings.newest(client, payment_id)
        transitions, attempts, events, entries = await asyncio.gather(
            _transitions(client, payment_id),
            _if_allowed(client.gateway_ops.ListAttempts(gateway_pb.ListAttemptsRequest(payment_id=payment_id))),
            _if_allowed(_events(client, payment_id)),
            _if_allowed(_entries(client, payment_id)),
        )
        found = Found(payment=payment, transitions=transitions, attempts=attempts, events=events, entries=entries)
        if as_json:
            print_json(_document(found))
        else:
            for line in lines(found):
                console.print(line, soft_wrap=True)
        return Exit.OK

    call(context, work, as_json=as_json)


def lines(found: Found) -> Iterator[Text]:
    """Yield the page."""
    payment, currency = found.payment, found.payment.total.currency_code
    yield tellings.heading(payment)
    yield states.joined([states.label(payment.state), Text(states.method(payment.snapshot), style="dim")], " · ")
    yield from _about(payment)
    yield from _section("Amounts", _amounts(payment))
    yield from _section("History", [_moved(one, currency) for one in found.transitions])
    if found.attempts is None or found.events is None or found.entries is None:
        yield from _section("More", [Text("Attempts, events and the ledger are for operators: --as operator.")])
        return
    yield from _section("Attempts at Stripe", attempt_lines(found.attempts))
    seen = [line for one in reversed(found.events) for line in event_lines(one, with_payment=False)]
    yield from _section("Stripe's events", seen or [Text("None came in.")])
    yield from _section("Ledger", list(_booked(found.entries)) or [Text("Nothing is booked.")])


def _about(payment: Payment) -> Iterator[Text]:
    known = {"bookings": ", ".join(payment.booking_ids), "reference": payment.client_reference}
    for name, value in known.items():
        if value:
            yield Text(f"{name}: {value}", style="dim")
    for one in states.attentions(payment.snapshot):
        yield Text(f"needs an operator: {one.detail or one.reason}", style="bold red")


def _section(title: str, body: Iterator[Text] | Sequence[Text]) -> Iterator[Text]:
    yield Text("")
    yield Text(title, style="bold")
    for line in body:
        yield Text(" " * INDENT).append_text(line)


def _amounts(payment: Payment) -> Iterator[Text]:
    amounts = payment.snapshot.amounts
    rows = {
        "total": payment.total.amount_minor,
        "held": amounts.capturable_minor,
        "captured": amounts.captured_minor,
        "refund on its way": amounts.refund_pending_minor,
        "refunded": amounts.refunded_minor,
        "disputed": amounts.disputed_open_minor,
        "lost": amounts.disputed_lost_minor,
        "surplus": amounts.surplus_minor,
    }
    for name, amount in rows.items():
        if amount or name in ("total", "captured"):
            yield Text(f"{name:<18}{money.shown(amount, payment.total.currency_code):>18}")


def _moved(one: Transition, currency_code: str) -> Text:
    said = states.joined([states.label(one.state), states.remark(one, currency_code)], "  ")
    return Text.assemble((f"{one.revision:>3}  {_moment(one.record_time)}  ", "dim"), said)


def _booked(entries: Sequence[gateway_pb.LedgerEntry]) -> Iterator[Text]:
    """Yield each fact with its entries, debits left of credits."""
    for _, group in groupby(entries, key=lambda one: one.transaction_id):
        together = list(group)
        yield Text(f"{together[0].fact}  {_moment(together[0].record_time)}  {together[0].stripe_id}", style="dim")
        for one in together:
            amount = money.shown(abs(one.amount.amount_minor), one.amount.currency_code)
            debit, credit = (amount, "") if one.amount.amount_minor >= 0 else ("", amount)
            yield Text(f"  {one.account:<32}{debit:>18}{credit:>18}".rstrip())


def _moment(stamp: Timestamp) -> str:
    return stamp.ToDatetime(UTC).astimezone().strftime("%d.%m. %H:%M:%S.%f")[:-3]


def _document(found: Found) -> dict[str, Any]:
    return {
        "payment": as_document(found.payment),
        "transitions": [as_document(one) for one in found.transitions],
        "attempts": None if found.attempts is None else as_document(found.attempts),
        "events": None if found.events is None else [as_document(one) for one in found.events],
        "ledger_entries": None if found.entries is None else [as_document(one) for one in found.entries],
    }


async def _if_allowed(asked: Awaitable[Answer]) -> Answer | None:
    """Return an answer; None where the caller may not have it."""
    from batzen.errors import PermissionDenied  # noqa: PLC0415 as above

    try:
        return await asked
    except PermissionDenied:
        return None


async def _transitions(client: Client, payment_id: str) -> list[Transition]:
    found: list[Transition] = []
    request = ListTransitionsRequest(payment_id=payment_id, page_size=PAGE_MAX)
    for _ in range(PAGES_MAX):
        page = await client.status.ListTransitions(request)
        found += page.transitions
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    return found


async def _events(client: Client, payment_id: str) -> list[gateway_pb.WebhookEvent]:
    found: list[gateway_pb.WebhookEvent] = []
    request = gateway_pb.ListWebhookEventsRequest(payment_id=payment_id, page_size=EVENTS_MAX)
    for _ in range(PAGES_MAX):
        page = await client.gateway_ops.ListWebhookEvents(request)
        found += page.events
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    return found


async def _entries(client: Client, payment_id: str) -> list[gateway_pb.LedgerEntry]:
    found: list[gateway_pb.LedgerEntry] = []
    request = gateway_pb.ListLedgerEntriesRequest(payment_id=payment_id, page_size=PAGE_MAX)
    for _ in range(PAGES_MAX):
        page = await client.gateway_ops.ListLedgerEntries(request)
        found += page.entries
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    return found

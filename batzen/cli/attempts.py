"""`batzen attempts` and `batzen events`: what was tried at Stripe, and what Stripe said of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from batzen.cli import moments, money, options
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.gateway.v1 import ops_pb2 as pb
from batzen.gateway.v1.observation_pb2 import AttemptKind, IntentState

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

ATTEMPTS_EPILOG: Final = """Examples:

batzen attempts pay_…

batzen attempts pay_… --json

Stripe is not asked: it is what was observed last. `batzen doctor` compares."""
EVENTS_EPILOG: Final = """Examples:

batzen events --payment pay_…

batzen events --type charge.refunded --state parked

batzen events --limit 5 --json

Events are kept for 90 days; what of them could not be applied is among `batzen dead-letters list`."""
PAGE_MAX: Final = 200
LOOKS_MAX: Final = 100
"""Pages that are asked for: 200,000 events."""


def attempts(context: typer.Context, *, payment_id: options.PaymentId, as_json: options.Json = False) -> None:
    """Show the attempts of a payment at Stripe, and the calls that have no answer."""

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.gateway_ops.ListAttempts(pb.ListAttemptsRequest(payment_id=payment_id))
        if as_json:
            print_json(as_document(answer))
            return Exit.OK
        for line in attempt_lines(answer):
            console.print(line, soft_wrap=True)
        return Exit.OK

    call(context, work, as_json=as_json)


def events(
    context: typer.Context,
    *,
    payment: Annotated[str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="Only of this payment.")] = "",
    subject: Annotated[str, typer.Option(metavar="STRIPE_ID", show_default=False, help="Only of this object.")] = "",
    type_: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only of this type; may be repeated.")
    ] = None,
    state: Annotated[
        list[str] | None, typer.Option(metavar="STATE", help="waiting, done, ignored or parked; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List Stripe's events as they came in, and what became of each."""
    request = pb.ListWebhookEventsRequest(
        payment_id=payment,
        subject_id=subject,
        types=type_ or [],
        states=[_state(word) for word in state or []],
        page_size=limit,
    )

    async def work(client: Client, _: Connection) -> Exit:
        found: list[pb.WebhookEvent] = []
        for _look in range(LOOKS_MAX):  # a page that a filter leaves empty need not be the last
            answer = await client.gateway_ops.ListWebhookEvents(request)
            found += answer.events
            request.page_token = answer.next_page_token
            if not request.page_token or len(found) >= limit:
                break
        if as_json:
            print_json([as_document(one) for one in found[:limit]])
            return Exit.OK
        for one in found[:limit]:
            for line in event_lines(one):
                console.print(line, soft_wrap=True)
        if not found:
            console.print("No such events came in.")
        return Exit.OK

    call(context, work, as_json=as_json)


def attempt_lines(answer: pb.ListAttemptsResponse) -> Iterator[Text]:
    """Yield the attempts of a payment, and the calls that have no answer."""
    for one in answer.attempts:
        yield from _of_attempt(one)
    for made in answer.calls:
        standing = "outcome not known" if made.outcome_unknown else "on its way"
        yield Text(f"{made.operation}: {standing}, {made.tries} tries", style="yellow")
    if not answer.attempts:
        yield Text("Nothing was tried at Stripe.")


def event_lines(one: pb.WebhookEvent, *, with_payment: bool = True) -> Iterator[Text]:
    """Yield an event, and what it is about; each line fits into 80 columns."""
    word = pb.WebhookEvent.State.Name(one.state).removeprefix("STATE_").lower()
    yield Text.assemble(f"{moments.brief(one.receive_time)}  ", (one.type, "bold"), f"  {word}")
    yield Text(f"  {one.event_id}  {one.subject_id}".rstrip(), style="dim")
    about = "  ".join(part for part in (one.payment_id if with_payment else "", one.note) if part)
    if about:
        yield Text(f"  {about}", style="dim")


def _of_attempt(one: pb.Attempt) -> Iterator[Text]:
    kind = AttemptKind.Name(one.kind).removeprefix("ATTEMPT_KIND_").lower().replace("_", " ")
    state = IntentState.Name(one.state).removeprefix("INTENT_STATE_")
    counts = "  ← counts" if one.counts else ""
    yield Text.assemble(f"{one.attempt}  {kind}  ", (state, "bold"), counts)
    taken = money.shown(one.captured_minor, one.amount.currency_code)
    yield Text(f"   {money.shown(one.amount.amount_minor, one.amount.currency_code)}, {taken} taken")
    ids = "  ".join(part for part in (one.intent_id, one.charge_id, one.session_id) if part)
    yield Text(f"   {ids or 'not at Stripe yet'}", style="dim")
    if one.HasField("last_error"):
        code = one.last_error.decline_code or one.last_error.code
        yield Text(f"   {one.decline_count} declines, the last {code}: {one.last_error.message}", style="red")


def _state(word: str) -> str:
    name = f"STATE_{word.upper()}"
    if name not in pb.WebhookEvent.State.keys()[1:]:
        raise typer.BadParameter("Write it as waiting, done, ignored or parked.")
    return name

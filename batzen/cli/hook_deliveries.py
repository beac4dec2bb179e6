"""`batzen hooks deliveries` and `replay`: what was sent to the platform's own systems, and sent again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from batzen._request_ids import new_request_id
from batzen.cli import hooks_view, options
from batzen.cli.moments import read_span
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.orchestrator.v1.webhooks_pb2 import (
    ListWebhookDeliveriesRequest,
    ReplayWebhookDeliveriesRequest,
    WebhookDelivery,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

DELIVERIES_EPILOG: Final = """Examples:

batzen hooks deliveries --subscription reservations --state dead

batzen hooks deliveries --payment pay_… --tries     (what each try came to)

batzen hooks deliveries --since 1d --json"""
REPLAY_EPILOG: Final = """Examples:

batzen hooks replay DELIVERY_ID DELIVERY_ID --reason "they lost them"

batzen hooks replay --subscription reservations --since 7d --reason "back again"       (dead letters)

batzen hooks replay --subscription reservations --since 2h --all --reason "restored"   (what was delivered, too)

They are sent under their old ids, those of a payment in their order."""
PAGE_MAX: Final = 200
NO_END: Final = datetime(9999, 1, 1, tzinfo=UTC)

Reason = Annotated[str, typer.Option(help="Why, for operators.", show_default=False)]
Since = Annotated[
    timedelta | None,
    typer.Option(metavar="SPAN", parser=read_span, show_default=False, help="Made since then: 30m, 2h, 7d."),
]


class State(StrEnum):
    """What has become of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELED = "canceled"


STATES: Final = {
    State.WAITING: WebhookDelivery.STATE_WAITING,
    State.DELIVERED: WebhookDelivery.STATE_DELIVERED,
    State.DEAD: WebhookDelivery.STATE_DEAD,
    State.CANCELED: WebhookDelivery.STATE_CANCELED,
}


def deliveries(
    context: typer.Context,
    *,
    subscription: Annotated[
        str, typer.Option(metavar="NAME", show_default=False, help="Only to this subscription.")
    ] = "",
    payment: Annotated[str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="Only of this payment.")] = "",
    state: Annotated[State | None, typer.Option(show_default=False, help="Only in this state.")] = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 50,
    tries: Annotated[bool, typer.Option("--tries", help="Show each try, and what was sent.")] = False,
    as_json: options.Json = False,
) -> None:
    """List what was sent, and what came of it."""
    request = ListWebhookDeliveriesRequest(
        subscription_id=subscription,
        payment_id=payment,
        state=STATES[state] if state is not None else None,
        from_time=_ago(since),
        page_size=limit,
    )

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.ListWebhookDeliveries(request)
        if as_json:
            print_json([as_document(one) for one in answer.deliveries])
        elif not answer.deliveries:
            console.print("There is none such.")
        elif tries:
            for one in answer.deliveries:
                console.print(hooks_view.details(one))
        else:
            console.print(hooks_view.table(answer.deliveries))
        if answer.next_page_token and not as_json:
            console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        return Exit.OK

    call(context, work, as_json=as_json)


def replay(
    context: typer.Context,
    *,
    delivery_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="DELIVERY_ID...", help="As `deliveries` shows them.", show_default=False),
    ] = None,
    reason: Reason,
    subscription: Annotated[
        str, typer.Option(metavar="NAME", show_default=False, help="Those of this subscription, with --since.")
    ] = "",
    since: Since = None,
    everything: Annotated[bool, typer.Option("--all", help="What was delivered, too.")] = False,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Send deliveries again."""
    by_period = bool(subscription) and since is not None
    if by_period == bool(delivery_ids) or (delivery_ids and (subscription or since or everything)):
        refuse("Either DELIVERY_ID... or --subscription with --since.")
    request = ReplayWebhookDeliveriesRequest(
        delivery_ids=delivery_ids or [], actor_id=options.actor_id(actor), reason=reason
    )
    if by_period:
        request.period.subscription_id, request.period.delivered_too = subscription, everything
        request.period.from_time.CopyFrom(_ago(since) or Timestamp())
        request.period.to_time.FromDatetime(NO_END)

    async def work(client: Client, _: Connection) -> Exit:
        replayed, has_more = 0, True
        while has_more:
            request.request_id = new_request_id()
            answer = await client.orchestrator_ops.ReplayWebhookDeliveries(request)
            replayed, has_more = replayed + answer.replayed_count, answer.has_more
            if has_more:
                request.period.from_time.CopyFrom(answer.next_time)
                if not as_json:
                    console.print(f"{replayed} …", style="dim")
        if as_json:
            print_json({"replayed_count": replayed})
        else:
            console.print(f"{replayed} are sent again.")
        return Exit.OK

    call(context, work, as_json=as_json)


def _ago(span: timedelta | None) -> Timestamp | None:
    if span is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) - span)
    return stamp

"""`batzen hooks`: which of the platform's own systems are sent what happens, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from batzen._request_ids import new_request_id
from batzen.cli import hook_deliveries, hooks_view, moments, options
from batzen.cli.command_classes import Commands
from batzen.cli.moments import read_span
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.orchestrator.v1.webhooks_pb2 import (
    DeleteWebhookSubscriptionRequest,
    ListWebhookSubscriptionsRequest,
    PutWebhookSubscriptionRequest,
    RotateWebhookSecretRequest,
    TestWebhookSubscriptionRequest,
    WebhookDelivery,
    WebhookSubscription,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

ADD_EPILOG: Final = """Examples:

batzen hooks add reservations https://reservations.shop.example/batzen --kind PAYMENT_MOVED --reason "goes live"

batzen hooks add old-reservations https://reservations.shop.example/payments --legacy --reason "until it is replaced"

The secret is shown once. The same name again changes the subscription as a whole, and leaves its secret."""
LIST_EPILOG: Final = """Example:

batzen hooks list

Exit code 0 if all receivers take what they are sent, 1 if one does not."""
REMOVE_EPILOG: Final = """Example:

batzen hooks remove reservations --reason "replaced by bookings"

What waits is canceled. Its deliveries stay listed for 30 days."""
PAUSE_EPILOG: Final = """Example:

batzen hooks pause reservations --reason "maintenance until noon"

What happens meanwhile waits, for 3 days at most; `batzen hooks resume` sends it."""
RESUME_EPILOG: Final = """Example:

batzen hooks resume reservations --reason "is back"

What waits is sent at once, also to a receiver that rested."""
ROTATE_EPILOG: Final = """Examples:

batzen hooks rotate reservations --reason "once a year"

batzen hooks rotate reservations --at-once --reason "the old one leaked"

The new secret is shown once. Until the overlap is over the old one signs, too."""
TEST_EPILOG: Final = """Example:

batzen hooks test reservations

Sends a test event at once, also while the receiver rests or is paused. Exit code 0 if it was taken."""
PAGE_MAX: Final = 200
TEST_TIMEOUT_S: Final = 30.0
"""More than the one try takes."""

app = Commands(help="Webhooks to the platform's own systems.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the subscription.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why, for operators.", show_default=False)]


@app.command(epilog=ADD_EPILOG)
def add(
    context: typer.Context,
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it is sent to, by POST.", show_default=False)],
    *,
    reason: Reason,
    kinds: Annotated[
        list[str],
        typer.Option("--kind", metavar="KIND", show_default="all", help="As PAYMENT_MOVED; may be repeated."),
    ] = [],  # noqa: B006 typer's way to say none
    legacy: Annotated[bool, typer.Option("--legacy", help="In the form of before, of PAYMENT_MOVED alone.")] = False,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Have what happens sent to a system, or change what it is sent."""
    request = PutWebhookSubscriptionRequest(
        request_id=new_request_id(),
        subscription_id=name,
        url=url,
        kinds=[kind.upper() for kind in kinds],
        form=WebhookSubscription.FORM_LEGACY if legacy else WebhookSubscription.FORM_FULL,
        actor_id=options.actor_id(actor),
        reason=reason,
    )

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.PutWebhookSubscription(request)
        hooks_view.tell_secret(answer.subscription, answer.secret, as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("list", epilog=LIST_EPILOG)
def list_subscriptions(context: typer.Context, *, as_json: options.Json = False) -> None:
    """List who is sent what, and how the receivers do."""

    async def work(client: Client, _: Connection) -> Exit:
        found = await _subscriptions(client)
        hooks_view.tell(found, as_json=as_json)
        return Exit.NOT_AS_WANTED if any(one.HasField("failing_time") for one in found) else Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=REMOVE_EPILOG)
def remove(
    context: typer.Context, name: Name, *, reason: Reason, actor: options.Actor = "", as_json: options.Json = False
) -> None:
    """Send a system nothing more."""
    request = DeleteWebhookSubscriptionRequest(
        request_id=new_request_id(), subscription_id=name, actor_id=options.actor_id(actor), reason=reason
    )

    async def work(client: Client, _: Connection) -> Exit:
        await client.orchestrator_ops.DeleteWebhookSubscription(request)
        if as_json:
            print_json({"removed": name})
        else:
            console.print(f"{name} is sent nothing more; what waited is canceled.")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=PAUSE_EPILOG)
def pause(
    context: typer.Context, name: Name, *, reason: Reason, actor: options.Actor = "", as_json: options.Json = False
) -> None:
    """Let what happens wait for a system that is away."""
    _put_paused(context, name, paused=True, actor=actor, reason=reason, as_json=as_json)


@app.command(epilog=RESUME_EPILOG)
def resume(
    context: typer.Context, name: Name, *, reason: Reason, actor: options.Actor = "", as_json: options.Json = False
) -> None:
    """Send it again, what waits first."""
    _put_paused(context, name, paused=False, actor=actor, reason=reason, as_json=as_json)


@app.command(epilog=ROTATE_EPILOG)
def rotate(
    context: typer.Context,
    name: Name,
    *,
    reason: Reason,
    overlap: Annotated[
        timedelta | None,
        typer.Option(metavar="SPAN", parser=read_span, show_default="1d", help="For how long the old one signs, too."),
    ] = None,
    at_once: Annotated[bool, typer.Option("--at-once", help="The old one signs no more.")] = False,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Make a new secret."""
    if at_once and overlap is not None:
        refuse("Either --overlap or --at-once.")
    request = RotateWebhookSecretRequest(
        request_id=new_request_id(), subscription_id=name, actor_id=options.actor_id(actor), reason=reason
    )
    if at_once or overlap is not None:
        request.overlap.CopyFrom(moments.duration(overlap or timedelta(0)))

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.RotateWebhookSecret(request)
        hooks_view.tell_secret(answer.subscription, answer.secret, as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("test", epilog=TEST_EPILOG)
def send_test(context: typer.Context, name: Name, *, as_json: options.Json = False) -> None:
    """Send a test event, and say what the receiver answers."""
    request = TestWebhookSubscriptionRequest(request_id=new_request_id(), subscription_id=name)

    async def work(client: Client, _: Connection) -> Exit:
        delivery = (await client.orchestrator_ops.TestWebhookSubscription(request, timeout=TEST_TIMEOUT_S)).delivery
        if as_json:
            print_json(as_document(delivery))
        else:
            console.print(hooks_view.tries(delivery))
        is_taken = delivery.state == WebhookDelivery.STATE_DELIVERED
        return Exit.OK if is_taken else Exit.NOT_AS_WANTED

    call(context, work, as_json=as_json)


def _put_paused(context: typer.Context, name: str, *, paused: bool, actor: str, reason: str, as_json: bool) -> None:
    async def work(client: Client, _: Connection) -> Exit:
        found = [one for one in await _subscriptions(client) if one.subscription_id == name]
        if not found:
            console.print(f"There is no subscription {name}.")
            return Exit.NOT_AS_WANTED
        request = PutWebhookSubscriptionRequest(
            request_id=new_request_id(),
            subscription_id=name,
            url=found[0].url,
            kinds=found[0].kinds,
            form=found[0].form,
            paused=paused,
            actor_id=options.actor_id(actor),
            reason=reason,
        )
        hooks_view.tell([(await client.orchestrator_ops.PutWebhookSubscription(request)).subscription], as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


async def _subscriptions(client: Client) -> list[WebhookSubscription]:
    request = ListWebhookSubscriptionsRequest(page_size=PAGE_MAX)
    return list((await client.orchestrator_ops.ListWebhookSubscriptions(request)).subscriptions)


app.command("deliveries", epilog=hook_deliveries.DELIVERIES_EPILOG)(hook_deliveries.deliveries)
app.command("replay", epilog=hook_deliveries.REPLAY_EPILOG)(hook_deliveries.replay)

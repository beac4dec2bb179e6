"""`batzen notifications`: what payers, sellers and operators are told, and how a tenant tells."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, money, options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, print_json, print_json_line, refuse
from batzen.orchestrator.v1 import notifications_pb2 as pb

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Examples:

batzen notifications list --unread

batzen notifications list --payer PAYER_ID --json

Without --payer or --seller they are the operators'; of a payer's or a seller's own token, theirs."""
WATCH_EPILOG: Final = """Examples:

batzen notifications watch

batzen notifications watch --payer PAYER_ID --after 0 --json

With --json one line each. It goes on over restarts, and ends with Ctrl-C."""
READ_EPILOG: Final = """Examples:

batzen notifications read 12

batzen notifications read 12 --all                    (12 and all before it)"""
PREFERENCES_EPILOG: Final = """Examples:

batzen --as service notifications preferences --payer PAYER_ID

batzen --as service notifications preferences --payer PAYER_ID --off payment_received:mail"""
POLICY_EPILOG: Final = """Example:

batzen notifications policy --json"""
PUT_EPILOG: Final = """Examples:

batzen notifications put-policy --operator-address ops@example.ch --reason "who is called"

batzen notifications put-policy --switch payment_received:seller=mail --switch payment_expired:payer= --reason INC-7

It is put as a whole: what is not given is as without any policy."""
PAGE_MAX: Final = 200

app = Commands(help="What people are told of payments.")


class Who(StrEnum):
    """Who is told."""

    PAYER = "payer"
    SELLER = "seller"
    OPERATOR = "operator"


class Channel(StrEnum):
    """How."""

    IN_APP = "in_app"
    MAIL = "mail"


Payer = Annotated[
    str, typer.Option("--payer", metavar="PAYER_ID", show_default=False, help="A payer's, in place of the operators'.")
]
Seller = Annotated[
    str, typer.Option("--seller", metavar="SELLER_ID", show_default=False, help="A seller's, in place of them.")
]


def recipient(payer: str, seller: str) -> dict[str, Any]:
    """Return whose notifications are asked for; the service knows the caller's own."""
    if payer and seller:
        refuse("Give one of --payer and --seller.")
    if payer:
        return {"recipient": pb.NOTIFICATION_RECIPIENT_PAYER, "recipient_id": payer}
    if seller:
        return {"recipient": pb.NOTIFICATION_RECIPIENT_SELLER, "recipient_id": seller}
    return {}


def read_channels(text: str) -> tuple[str, Channel]:
    """Read payment_received:mail."""
    kind, _, channel = text.partition(":")
    if not kind or channel not in {one.value for one in Channel}:
        raise typer.BadParameter("Write it as payment_received:mail.")
    return kind.upper(), Channel(channel)


def read_switch(text: str) -> pb.NotificationSwitch:
    """Read payment_received:seller=in_app,mail; nothing after the equals sign tells nobody."""
    told, equals, channels = text.partition("=")
    kind, _, who = told.partition(":")
    named = [one for one in channels.split(",") if one]
    if not (kind and equals) or who not in {one.value for one in Who}:
        raise typer.BadParameter("Write it as payment_received:seller=in_app,mail.")
    if set(named) - {one.value for one in Channel}:
        raise typer.BadParameter("The channels are in_app and mail.")
    return pb.NotificationSwitch(
        kind=kind.upper(),
        recipient=f"NOTIFICATION_RECIPIENT_{who.upper()}",
        channels=[f"NOTIFICATION_CHANNEL_{one.upper()}" for one in named],
    )


@app.command("list", epilog=LIST_EPILOG)
def list_notifications(
    context: typer.Context,
    *,
    payer: Payer = "",
    seller: Seller = "",
    unread: Annotated[bool, typer.Option("--unread", help="Only those that are not read.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List what somebody was told, the newest first."""
    request = pb.ListNotificationsRequest(unread_only=unread, page_size=limit, **recipient(payer, seller))

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.notifications.ListNotifications(request)
        if as_json:
            print_json([as_document(one) for one in answer.notifications])
            return Exit.OK
        _tell(answer.notifications)
        console.print(f"{answer.unread_count} unread.", style="dim")
        if answer.next_page_token:
            console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=WATCH_EPILOG)
def watch(
    context: typer.Context,
    *,
    payer: Payer = "",
    seller: Seller = "",
    after: Annotated[
        str, typer.Option(metavar="NUMBER", show_default="now", help="Go on after this one; 0: all there are.")
    ] = "",
    as_json: options.Json = False,
) -> None:
    """Show what somebody is told, as it comes."""
    request = pb.WatchNotificationsRequest(after_notification_id=after, **recipient(payer, seller))

    async def work(client: Client, _: Connection) -> Exit:
        from batzen.notifications import watch_notifications  # noqa: PLC0415 help needs no client, and starts faster

        async with aclosing(watch_notifications(client.notifications, request)) as coming:
            async for one in coming:
                if as_json:
                    print_json_line(as_document(one))
                else:
                    console.print(*_columns(one), sep="  ")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=READ_EPILOG)
def read(
    context: typer.Context,
    *,
    number: Annotated[str, typer.Argument(metavar="NUMBER", show_default=False, help="Which, as `list` shows it.")],
    is_all: Annotated[bool, typer.Option("--all", help="And all before it.")] = False,
    payer: Payer = "",
    seller: Seller = "",
    as_json: options.Json = False,
) -> None:
    """Mark notifications as read."""
    whose = recipient(payer, seller)

    async def work(client: Client, _: Connection) -> Exit:
        if is_all:
            left = await client.notifications.MarkAllNotificationsRead(
                pb.MarkAllNotificationsReadRequest(request_id=new_request_id(), up_to_notification_id=number, **whose)
            )
            if as_json:
                print_json(as_document(left))
            else:
                console.print(f"{left.unread_count} unread.")
            return Exit.OK
        marked = await client.notifications.MarkNotificationRead(
            pb.MarkNotificationReadRequest(request_id=new_request_id(), notification_id=number, **whose)
        )
        if as_json:
            print_json(as_document(marked.notification))
        else:
            _tell([marked.notification])
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=PREFERENCES_EPILOG)
def preferences(
    context: typer.Context,
    *,
    payer: Payer = "",
    seller: Seller = "",
    off: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:CHANNEL", show_default=False, help="Do not tell them this any more, by this way."),
    ] = None,
    on: Annotated[
        list[str] | None, typer.Option(metavar="KIND:CHANNEL", show_default=False, help="Tell them again.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Show what somebody may be told and opted out of, or change that."""
    wanted = [(*read_channels(one), True) for one in off or ()] + [(*read_channels(one), False) for one in on or ()]
    whose = recipient(payer, seller)

    async def work(client: Client, _: Connection) -> Exit:
        if wanted:
            asked = [
                pb.NotificationPreference(
                    kind=kind, channel=f"NOTIFICATION_CHANNEL_{channel.value.upper()}", opted_out=is_off
                )
                for kind, channel, is_off in wanted
            ]
            changed = await client.notifications.SetNotificationPreferences(
                pb.SetNotificationPreferencesRequest(request_id=new_request_id(), preferences=asked, **whose)
            )
            found = changed.preferences
        else:
            stands = await client.notifications.GetNotificationPreferences(
                pb.GetNotificationPreferencesRequest(**whose)
            )
            found = stands.preferences
        if as_json:
            print_json([as_document(one) for one in found])
        else:
            _tell_preferences(found)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command(epilog=POLICY_EPILOG)
def policy(context: typer.Context, *, as_json: options.Json = False) -> None:
    """Show how the tenant tells, and who said so."""

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.ListNotificationPolicies(pb.ListNotificationPoliciesRequest(page_size=1))
        if as_json:
            print_json(as_document(answer))
        else:
            _tell_policy(answer.records[0] if answer.records else None, answer.defaults)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("put-policy", epilog=PUT_EPILOG)
def put_policy(
    context: typer.Context,
    *,
    reason: Annotated[str, typer.Option(help="Why, for operators.", show_default=False)],
    switch: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:WHO=CHANNELS", show_default=False, help="Tell it in another way than by default."),
    ] = None,
    operator_address: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", show_default=False, help="Where operators get mail.")
    ] = None,
    sender_name: Annotated[str, typer.Option(metavar="NAME", show_default=False, help="Who mails are from.")] = "",
    payment_url: Annotated[
        str, typer.Option(metavar="URL", show_default=False, help="Where a payment is seen, with {payment_id} in it.")
    ] = "",
    operator_url: Annotated[str, typer.Option(metavar="URL", show_default=False, help="The same for operators.")] = "",
    locale: Annotated[str, typer.Option(metavar="LOCALE", show_default="English", help="Where none is known.")] = "",
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", show_default="UTC", help="Of the times in mails: Europe/Zurich.")
    ] = "",
    address: Annotated[
        list[str] | None, typer.Option(metavar="LINE", show_default=False, help="Of who writes receipts, line by line.")
    ] = None,
    vat_id: Annotated[str, typer.Option(metavar="ID", show_default=False, help="Of who writes receipts.")] = "",
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Say how the tenant tells people from now on."""
    request = pb.PutNotificationPolicyRequest(
        request_id=new_request_id(),
        policy=pb.NotificationPolicy(
            switches=[read_switch(one) for one in switch or ()],
            operator_addresses=operator_address or (),
            sender_name=sender_name,
            payment_url=payment_url,
            operator_url=operator_url,
            locale=locale,
            time_zone=time_zone,
            address=address or (),
            vat_id=vat_id,
        ),
        actor_id=options.actor_id(actor),
        reason=reason,
    )

    async def work(client: Client, _: Connection) -> Exit:
        record = (await client.orchestrator_ops.PutNotificationPolicy(request)).record
        if as_json:
            print_json(as_document(record))
        else:
            _tell_policy(record, ())
        return Exit.OK

    call(context, work, as_json=as_json)


def _tell(notifications: Sequence[pb.Notification]) -> None:
    if not notifications:
        console.print("None.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "when", "what", "how much", "payment"):
        table.add_column(title, overflow="fold")
    for one in notifications:
        table.add_row(*_columns(one))
    console.print(table)


def _columns(one: pb.Notification) -> tuple[Text, ...]:
    is_urgent = one.priority == pb.NOTIFICATION_PRIORITY_HIGH
    style = "dim" if one.HasField("read_time") else "bold red" if is_urgent else "bold"
    amount = ""
    if one.values.get("amount_minor") and one.values.get("currency_code"):
        amount = money.shown(int(one.values["amount_minor"]), one.values["currency_code"])
    said = one.kind.lower().replace("_", " ")
    shown = (one.notification_id, moments.brief(one.create_time), said, amount, one.payment_id)
    return tuple(Text(text, style=style) for text in shown)


def _tell_preferences(found: Sequence[pb.NotificationPreference]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("what", "how", "told"):
        table.add_column(title, overflow="fold")
    for one in found:
        told = "always" if one.mandatory else "no" if one.opted_out else "yes"
        table.add_row(one.kind.lower().replace("_", " "), _channel(one.channel), told)
    console.print(table if found else "They are told nothing.")


def _tell_policy(record: pb.NotificationPolicyRecord | None, defaults: Sequence[pb.NotificationSwitch]) -> None:
    if record is None:
        console.print("None was put: all is as by default.")
    else:
        its = record.policy
        said = {
            "operators' mail": ", ".join(its.operator_addresses),
            "sender": its.sender_name,
            "payments": its.payment_url,
            "for operators": its.operator_url,
            "locale": its.locale,
            "time zone": its.time_zone,
            "address": ", ".join(its.address),
            "VAT id": its.vat_id,
        }
        console.print(f"Since {moments.brief(record.create_time)} by {record.actor_id}: {record.reason}")
        for name, value in said.items():
            if value:
                console.print(Text(f"{name}: {value}"))
    switched = {} if record is None else {(one.kind, one.recipient): one for one in record.policy.switches}
    shown = [*defaults] or list(switched.values())
    if not shown:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("what", "who", "how"):
        table.add_column(title, overflow="fold")
    for one in shown:
        now = switched.get((one.kind, one.recipient), one)
        how = ", ".join(_channel(channel) for channel in now.channels) or "not told"
        who = pb.NotificationRecipient.Name(one.recipient).removeprefix("NOTIFICATION_RECIPIENT_").lower()
        style = "bold" if (one.kind, one.recipient) in switched else ""
        table.add_row(one.kind.lower().replace("_", " "), who, how, style=style)
    console.print(table)


def _channel(channel: pb.NotificationChannel) -> str:
    return pb.NotificationChannel.Name(channel).removeprefix("NOTIFICATION_CHANNEL_").lower().replace("_", " ")

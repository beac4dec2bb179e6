"""What `batzen hooks` shows of subscriptions and deliveries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from batzen.cli import moments
from batzen.cli.output import as_document, console, print_json
from batzen.orchestrator.v1.webhooks_pb2 import WebhookDelivery, WebhookSubscription

BODY_CHARACTERS_SHOWN: Final = 2_000


def tell_secret(subscription: WebhookSubscription, secret: str, *, as_json: bool) -> None:
    """Show a subscription, and the secret that was made with it."""
    if as_json:
        print_json({"subscription": as_document(subscription), "secret": secret})
        return
    tell([subscription], as_json=False)
    if secret:
        console.print(Text(secret, style="bold"))
        console.print("That is the secret its webhooks are signed with. It is shown this once.", style="dim")


def tell(found: list[WebhookSubscription], *, as_json: bool) -> None:
    """Show subscriptions."""
    if as_json:
        print_json([as_document(one) for one in found])
        return
    if not found:
        console.print("No system is sent anything.")
        return
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("name", "where", "what", "how it does"):
        shown.add_column(title, overflow="fold")
    for one in found:
        what = "\n".join(one.kinds) or "all"
        form = "in the old form: " if one.form == WebhookSubscription.FORM_LEGACY else ""
        shown.add_row(Text(one.subscription_id, style="bold"), one.url, form + what, _health(one))
    console.print(shown)


def _health(one: WebhookSubscription) -> Text:
    said = Text()
    if one.paused:
        said.append("paused\n", style="yellow")
    if one.HasField("failing_time"):
        said.append(f"fails since {moments.brief(one.failing_time)}, {one.failures} tries\n", style="red")
    if one.HasField("rest_end_time"):
        said.append(f"rests until {moments.brief(one.rest_end_time)}\n")
    said.append(f"{one.waiting_count} wait, {one.dead_count} given up", style="dim")
    return said


def table(found: Iterable[WebhookDelivery]) -> Table:
    """Return deliveries, a line or two each."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("made", "to", "what", "state", "delivery"):
        shown.add_column(title, overflow="fold")
    for one in found:
        about = f"{one.kind}\n{one.payment_id} {one.revision or ''}".rstrip()
        shown.add_row(moments.brief(one.create_time), one.subscription_id, about, _state(one), one.delivery_id)
    return shown


def _state(one: WebhookDelivery) -> Text:
    state = WebhookDelivery.State.Name(one.state).removeprefix("STATE_").lower()
    style = {"dead": "red", "waiting": "yellow", "delivered": "green"}.get(state, "")
    said = Text(state, style=style)
    if one.HasField("next_time"):
        said.append(f"\nnext {moments.brief(one.next_time)}", style="dim")
    return said


def details(one: WebhookDelivery) -> RenderableType:
    """Return a delivery, its tries, and what was sent."""
    body = one.body[:BODY_CHARACTERS_SHOWN] or "(made before the first try)"
    return Group(table([one]), tries(one), Text(body, style="dim"), Text(""))


def tries(one: WebhookDelivery) -> RenderableType:
    """Return what the tries of a delivery came to."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("tried", "outcome", "status", "took", "answer"):
        shown.add_column(title, overflow="fold")
    for each in one.tries:
        took = f"{each.duration.ToTimedelta().total_seconds() * 1_000:.0f} ms"
        answer = each.answer or each.problem
        shown.add_row(moments.brief(each.time), each.outcome, str(each.status or ""), took, answer)
    return shown

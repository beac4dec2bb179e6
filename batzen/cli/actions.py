"""`batzen actions`: what operators did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from batzen.cli import moments, options
from batzen.cli.connection import Connection
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.client import Client
from batzen.orchestrator.v1.ops_pb2 import ListOperatorActionsRequest, OperatorAction

EPILOG: Final = """Examples:

batzen actions

batzen actions --payment pay_…

batzen actions --by anna --json

Each is kept for ever. --json has what was asked for, and how it stood before and after."""
PAGE_MAX: Final = 200


def actions(
    context: typer.Context,
    *,
    payment: Annotated[str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="Only on this payment.")] = "",
    by: Annotated[str, typer.Option(metavar="ACTOR_ID", show_default=False, help="Only of this operator.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List what operators did to payments, new payments and policies, and why."""
    request = ListOperatorActionsRequest(payment_id=payment, actor_id=by, page_size=limit)

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.ListOperatorActions(request)
        if as_json:
            print_json([_document(one) for one in answer.actions])
            return Exit.OK
        for one in answer.actions:
            for line in _lines(one):
                console.print(line, soft_wrap=True)
        if not answer.actions:
            console.print("No operator did anything.")
        if answer.next_page_token:
            console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        return Exit.OK

    call(context, work, as_json=as_json)


def _document(action: OperatorAction) -> dict[str, Any]:
    """Return an action with what is JSON in it unpacked."""
    document = as_document(action)
    for name in ("asked", "before", "after"):
        stored = document.pop(f"{name}_json")
        document[name] = json.loads(stored) if stored else {}
    return document


def _lines(action: OperatorAction) -> Iterator[Text]:
    done = ("refused: " + action.refusal, "red") if action.refusal else ("done", "green")
    yield Text.assemble((action.method, "bold"), "   ", done, f"   {action.payment_id}".rstrip())
    why = f": {action.reason}" if action.reason else ""
    yield Text(f"  {moments.brief(action.create_time)} by {action.actor_id}{why}")
    before, after = _standing(action.before_json), _standing(action.after_json)
    if before and after and before != after:
        yield Text(f"  {before} → {after}", style="dim")


def _standing(stored: str) -> str:
    """Return where a payment stood; empty of what is no payment."""
    found = json.loads(stored) if stored else {}
    snapshot = found.get("snapshot")
    return f"{snapshot['collection']} (revision {found['revision']})" if snapshot else ""

"""`batzen actions`: what operators did, by the orchestrator and by the gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from batzen.cli import moments, options
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.gateway.v1 import ops_pb2 as gateway_pb
from batzen.orchestrator.v1.ops_pb2 import ListOperatorActionsRequest, OperatorAction

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

EPILOG: Final = """Examples:

batzen actions

batzen actions --payment pay_…

batzen actions --by anna --json

Each is kept for ever. --json has what was asked for, and how it stood before and after."""
PAGE_MAX: Final = 200
Action = OperatorAction | gateway_pb.OperatorAction


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
        of_gateway = await client.gateway_ops.ListOperatorActions(
            gateway_pb.ListOperatorActionsRequest(payment_id=payment, actor_id=by, page_size=limit)
        )
        # Each is complete up to its last one, so the newest of both together are the newest.
        found: list[Action] = [*answer.actions, *of_gateway.actions]
        both = sorted(found, key=lambda one: one.create_time.ToNanoseconds(), reverse=True)[:limit]
        if as_json:
            print_json([_document(one) for one in both])
            return Exit.OK
        for one in both:
            for line in _lines(one):
                console.print(line, soft_wrap=True)
        if not both:
            console.print("No operator did anything.")
        if answer.next_page_token or of_gateway.next_page_token:
            console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        return Exit.OK

    call(context, work, as_json=as_json)


def _document(action: Action) -> dict[str, Any]:
    """Return an action with what is JSON in it unpacked."""
    document = as_document(action)
    for name in [name for name in document if name.endswith("_json")]:
        stored = document.pop(name)
        document[name.removesuffix("_json")] = json.loads(stored) if stored else {}
    return document


def _lines(action: Action) -> Iterator[Text]:
    refusal = action.refusal if isinstance(action, OperatorAction) else ""
    done = (f"refused: {refusal}", "red") if refusal else ("done", "green")
    yield Text.assemble((action.method, "bold"), "   ", done, f"   {action.payment_id}".rstrip())
    why = f": {action.reason}" if action.reason else ""
    yield Text(f"  {moments.brief(action.create_time)} by {action.actor_id}{why}")
    if not isinstance(action, OperatorAction):
        return
    before, after = _standing(action.before_json), _standing(action.after_json)
    if before and after and before != after:
        yield Text(f"  {before} → {after}", style="dim")


def _standing(stored: str) -> str:
    """Return where a payment stood; empty of what is no payment."""
    found = json.loads(stored) if stored else {}
    snapshot = found.get("snapshot")
    return f"{snapshot['collection']} (revision {found['revision']})" if snapshot else ""

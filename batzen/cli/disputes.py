"""`batzen disputes`: what payers' banks contest, for operators to see, answer and give up."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, money, options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.gateway.v1.disputes_pb2 import (
    AcceptDisputeRequest,
    Dispute,
    GetDisputeRequest,
    ListDisputesRequest,
    SubmitDisputeEvidenceRequest,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Examples:

batzen disputes list --open

batzen disputes list --due-before 3d

batzen disputes list --payment pay_… --json"""
EVIDENCE_EPILOG: Final = """Examples:

batzen disputes evidence dp_… --set product_description="A piano lesson on 2 November"

batzen disputes evidence dp_… --set uncategorized_text=@answer.txt --set receipt=file_…

batzen disputes evidence dp_… --set receipt=   (takes it back)

The names are Stripe's; files are uploaded in its dashboard. Nothing is handed in before `submit`."""
SUBMIT_EPILOG: Final = """Examples:

batzen disputes submit dp_…   (what is drafted)

batzen disputes submit dp_… --set service_date="2 November 2026"

What was handed in cannot be taken back."""
ACCEPT_EPILOG: Final = """Example:

batzen disputes accept dp_… --yes

For good: the money is the payer's."""
PAGE_MAX: Final = 200

app = Commands(help="What payers' banks contest.")


class State(StrEnum):
    """How far a dispute has come."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    CLOSED = "closed"
    PREVENTED = "prevented"
    APPEAL_NEEDS_RESPONSE = "appeal_needs_response"
    APPEAL_UNDER_REVIEW = "appeal_under_review"
    OTHER = "other"


DisputeId = Annotated[str, typer.Argument(metavar="DISPUTE_ID", help="Its id, dp_…", show_default=False)]
Evidence = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        show_default=False,
        help="A text, @FILE for one in a file, or the id of a file at Stripe; again for more.",
    ),
]


@app.command("list", epilog=LIST_EPILOG)
def list_disputes(
    context: typer.Context,
    *,
    payment: Annotated[str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="Only of this payment.")] = "",
    is_open: Annotated[bool, typer.Option("--open", help="Only those that are not decided.")] = False,
    state: Annotated[list[State] | None, typer.Option(help="Only in this state; again for more.")] = None,
    due_before: Annotated[
        moments.Moment | None,
        typer.Option(
            metavar="WHEN", parser=moments.read_moment, show_default=False, help="Only those to answer by then: 3d."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List disputes and inquiries."""

    async def work(client: Client, _: Connection) -> Exit:
        request = ListDisputesRequest(
            payment_id=payment,
            open_only=is_open,
            states=[f"STATE_{one.name}" for one in state or ()],
            due_before_time=None if due_before is None else due_before.timestamp(),
            page_size=limit,
        )
        answer = await client.disputes.ListDisputes(request)
        if as_json:
            print_json([as_document(one) for one in answer.disputes])
        elif answer.disputes:
            console.print(_table(answer.disputes))
            if answer.next_page_token:
                console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        else:
            console.print("No disputes.")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("get", epilog="Example:\n\nbatzen disputes get dp_… --evidence")
def get_dispute(
    context: typer.Context,
    *,
    dispute_id: DisputeId,
    evidence: Annotated[bool, typer.Option("--evidence", help="With the evidence that Stripe has.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show one dispute, and what it took and gave back."""

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.disputes.GetDispute(GetDisputeRequest(dispute_id=dispute_id, with_evidence=evidence))
        _tell(answer.dispute, as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("evidence", epilog=EVIDENCE_EPILOG)
def draft(
    context: typer.Context,
    *,
    dispute_id: DisputeId,
    given: Evidence = None,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Keep evidence as a draft."""
    _give(context, dispute_id, given, submit=False, actor=actor, as_json=as_json)


@app.command("submit", epilog=SUBMIT_EPILOG)
def submit(
    context: typer.Context,
    *,
    dispute_id: DisputeId,
    given: Evidence = None,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Hand what is drafted to the bank, for good."""
    _give(context, dispute_id, given, submit=True, actor=actor, as_json=as_json)


@app.command("accept", epilog=ACCEPT_EPILOG)
def accept(
    context: typer.Context,
    *,
    dispute_id: DisputeId,
    is_sure: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Give a dispute up, for good."""
    if not is_sure:
        typer.confirm(f"Give {dispute_id} up, for good?", abort=True)

    async def work(client: Client, _: Connection) -> Exit:
        request = AcceptDisputeRequest(
            request_id=new_request_id(), dispute_id=dispute_id, actor_id=options.actor_id(actor)
        )
        _tell((await client.disputes.AcceptDispute(request)).dispute, as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


def _give(
    context: typer.Context, dispute_id: str, given: list[str] | None, *, submit: bool, actor: str, as_json: bool
) -> None:
    evidence = dict(map(read_evidence, given or ()))

    async def work(client: Client, _: Connection) -> Exit:
        request = SubmitDisputeEvidenceRequest(
            request_id=new_request_id(),
            dispute_id=dispute_id,
            evidence=evidence,
            submit=submit,
            actor_id=options.actor_id(actor),
        )
        _tell((await client.disputes.SubmitDisputeEvidence(request)).dispute, as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


def read_evidence(given: str) -> tuple[str, str]:
    """Read `name=value`, or `name=@file` of a text in a file."""
    name, equals, value = given.partition("=")
    if not equals:
        raise typer.BadParameter(f"{given!r} is no NAME=VALUE.", param_hint="--set")
    if not value.startswith("@"):
        return name, value
    try:
        return name, Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{value[1:]} cannot be read: {error}", param_hint="--set") from error


def _table(disputes: Iterable[Dispute]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("dispute", "payment", "amount", "reason", "state", "answer by", "evidence"):
        table.add_column(title, overflow="fold")
    for one in disputes:
        table.add_row(
            Text(one.dispute_id, style="bold"),
            one.payment_id,
            money.shown(one.amount.amount_minor, one.amount.currency_code),
            one.reason,
            _state(one),
            moments.brief(one.evidence_due_time) if one.HasField("evidence_due_time") else "",
            _evidence(one),
        )
    return table


def _tell(dispute: Dispute, *, as_json: bool) -> None:
    if as_json:
        print_json(as_document(dispute))
        return
    amount = money.shown(dispute.amount.amount_minor, dispute.amount.currency_code)
    console.print(Text.assemble((dispute.dispute_id, "bold"), f"   {amount}   {dispute.reason}   {_state(dispute)}"))
    console.print(f"payment {dispute.payment_id}, charge {dispute.charge_id}", style="dim")
    if dispute.HasField("evidence_due_time"):
        console.print(f"evidence by {moments.shown(dispute.evidence_due_time)}; {_evidence(dispute) or 'none yet'}")
    for moved in dispute.movements:
        what = "given back" if moved.amount.amount_minor > 0 else "withdrawn"
        fee = money.shown(moved.fee.amount_minor, moved.fee.currency_code)
        shown = money.shown(abs(moved.amount.amount_minor), moved.amount.currency_code)
        console.print(
            f"{moments.brief(moved.create_time)}   {what} {shown}, fee {fee}   {moved.balance_transaction_id}"
        )
    for name, value in sorted(dispute.evidence.items()):
        console.print(Text.assemble((f"{name}: ", "dim"), value))


def _state(dispute: Dispute) -> str:
    return f"{dispute.stripe_status} (inquiry)" if dispute.inquiry else dispute.stripe_status


def _evidence(dispute: Dispute) -> str:
    if dispute.submission_count:
        late = ", too late" if dispute.past_due else ""
        return f"handed in ×{dispute.submission_count}{late}"
    return "drafted" if dispute.has_evidence else ""

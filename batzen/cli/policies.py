"""`batzen policies`: when sellers are paid, who bears disputes, and what is refunded, as operators decided it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import moments, options
from batzen.cli.command_classes import Commands
from batzen.cli.output import Exit, as_document, call, console, print_json
from batzen.orchestrator.v1.ops_pb2 import (
    ListPoliciesRequest,
    MoneyPolicy,
    PolicyRecord,
    PutPolicyRequest,
    RefundPolicy,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Example:

batzen policies list --limit 3

The first of a session type is what holds for payments that are started from now on."""
PUT_EPILOG: Final = """Examples:

batzen policies put --refund 48h,50%,24h --reason "terms of 2027"

batzen policies put --session-type cart --dispute-recovery at_loss --pay-after 24 --reason INC-7

It is put as a whole: what is not given is as without any policy. Payments keep the policy of their start.
--refund 48h,50%,24h: all until 48 hours before the service, then 50 % until 24 hours before, then nothing."""
PAGE_MAX: Final = 200
HOURS_MAX: Final = 8_760
"""A year, as the contract says."""
REFUND_FORM: Final = re.compile(r"(?P<full>\d+)h(?:,(?P<percent>\d+)%,(?P<until>\d+)h)?", re.ASCII)

app = Commands(help="When sellers are paid, who bears disputes, what is refunded.")


class Recovery(StrEnum):
    """When a seller gives back its part of what a dispute takes."""

    NONE = "none"
    AT_WITHDRAWAL = "at_withdrawal"
    AT_LOSS = "at_loss"


class FraudWarning(StrEnum):
    """What is done when the card's issuer warns of fraud."""

    ATTEND = "attend"
    REFUND = "refund"


RECOVERIES: Final = {
    Recovery.NONE: MoneyPolicy.DISPUTE_RECOVERY_NONE,
    Recovery.AT_WITHDRAWAL: MoneyPolicy.DISPUTE_RECOVERY_AT_WITHDRAWAL,
    Recovery.AT_LOSS: MoneyPolicy.DISPUTE_RECOVERY_AT_LOSS,
}
WARNINGS: Final = {
    FraudWarning.ATTEND: MoneyPolicy.FRAUD_WARNING_ATTEND,
    FraudWarning.REFUND: MoneyPolicy.FRAUD_WARNING_REFUND,
}


def read_refund(text: str) -> RefundPolicy:
    """Read 48h, or 48h,50%,24h."""
    found = REFUND_FORM.fullmatch(text.replace(" ", ""))
    if found is None:
        raise typer.BadParameter("Write it as 48h,50%,24h; or as 48h: all until then, and nothing after.")
    full, percent, until = (int(found[name] or 0) for name in ("full", "percent", "until"))
    if found["until"] is None:
        until = full
    if full > HOURS_MAX or percent > 100 or until > full:
        raise typer.BadParameter(
            f"At most {HOURS_MAX} hours and 100 %, and the second time is no earlier than the first."
        )
    return RefundPolicy(full_until_hours=full, percent=percent, percent_until_hours=until)


@app.command("list", epilog=LIST_EPILOG)
def list_policies(
    context: typer.Context,
    *,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="At most so many, the newest first.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List what was ever decided, by whom and why."""

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.orchestrator_ops.ListPolicies(ListPoliciesRequest(page_size=limit))
        _tell(answer.records, as_json=as_json)
        if answer.next_page_token and not as_json:
            console.print(f"There are more than these {limit}; --limit shows up to {PAGE_MAX}.", style="dim")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("put", epilog=PUT_EPILOG)
def put(
    context: typer.Context,
    *,
    reason: Annotated[str, typer.Option(help="Why, for operators.", show_default=False)],
    session_type: Annotated[
        str, typer.Option(metavar="TYPE", show_default=False, help="Only of such sessions. Default: of all others.")
    ] = "",
    pay_after: Annotated[
        int | None,
        typer.Option(metavar="HOURS", min=0, max=HOURS_MAX, show_default="once captured", help="After the service."),
    ] = None,
    dispute_recovery: Annotated[
        Recovery, typer.Option(help="When a seller gives back its part of what a dispute takes.")
    ] = Recovery.NONE,
    nets_receivables: Annotated[
        bool, typer.Option("--nets-receivables", help="What a seller owes is kept back from its transfers.")
    ] = False,
    fraud_warning: Annotated[
        FraudWarning, typer.Option(help="When the card's issuer warns: a person decides, or all goes back.")
    ] = FraudWarning.ATTEND,
    refund: Annotated[
        RefundPolicy | None,
        typer.Option(
            metavar="TERMS", parser=read_refund, show_default="all, always", help="What goes back: 48h,50%,24h."
        ),
    ] = None,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Say what holds for payments that are started from now on."""
    policy = MoneyPolicy(
        pay_after_service_hours=pay_after,
        dispute_recovery=RECOVERIES[dispute_recovery],
        nets_receivables=nets_receivables,
        fraud_warning=WARNINGS[fraud_warning],
        refund=refund,
    )
    request = PutPolicyRequest(
        request_id=new_request_id(),
        session_type=session_type,
        policy=policy,
        actor_id=options.actor_id(actor),
        reason=reason,
    )

    async def work(client: Client, _: Connection) -> Exit:
        _tell([(await client.orchestrator_ops.PutPolicy(request)).record], as_json=as_json)
        return Exit.OK

    call(context, work, as_json=as_json)


def _tell(records: Iterable[PolicyRecord], *, as_json: bool) -> None:
    if as_json:
        print_json([as_document(one) for one in records])
        return
    if not records:
        console.print("None: sellers are paid at once, the platform bears disputes, and all can be refunded.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("since", "of", "what", "by", "why"):
        table.add_column(title, overflow="fold")
    for one in records:
        of = Text(one.session_type or "all others", style="bold")
        table.add_row(moments.brief(one.create_time), of, _in_words(one.policy), one.actor_id, one.reason)
    console.print(table)


def _in_words(policy: MoneyPolicy) -> str:
    paid = "once captured"
    if policy.HasField("pay_after_service_hours"):
        paid = f"{policy.pay_after_service_hours} h after the service"
    recovery = MoneyPolicy.DisputeRecovery.Name(policy.dispute_recovery).removeprefix("DISPUTE_RECOVERY_")
    warning = MoneyPolicy.FraudWarning.Name(policy.fraud_warning).removeprefix("FRAUD_WARNING_")
    refund = "all"
    if policy.HasField("refund"):
        terms = policy.refund
        refund = f"all until {terms.full_until_hours} h, {terms.percent} % until {terms.percent_until_hours} h"
    return "\n".join(
        (
            f"paid {paid}",
            f"disputes {recovery.lower().replace('_', ' ')}",
            f"refund {refund}",
            f"fraud warning {warning.lower()}",
            *(["owed is kept back"] if policy.nets_receivables else []),
        )
    )

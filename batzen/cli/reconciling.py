"""`batzen reconcile`: whether Stripe and the suite say the same, for operators and for a job of every day."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import money, options
from batzen.cli.ledger import read_past
from batzen.cli.output import Exit, as_document, call, console, error_console, print_json, refuse
from batzen.cli.reconciliation_page import KIND_NAMES, page, verdict
from batzen.gateway.v1.ops_pb2 import GetReconciliationRequest, GetReconciliationResponse, ReconcileRequest

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

EPILOG: Final = """Examples:

batzen reconcile --since 2026-11-01 --until 2026-12-01

batzen reconcile --since 7d --html report.html

batzen reconcile --since 7d --repair       (mend what is safe to mend; the rest is said with its reason)

Exit code 0 when nothing is different, or all of it was mended; 1 when something is."""
LOOK_EVERY_S: Final = 1.0
AWAY_MAX: Final = 60
"""Looks in a row that find nobody: the run goes on without us."""


def reconcile(
    context: typer.Context,
    *,
    since: Annotated[
        datetime,
        typer.Option(metavar="WHEN", parser=read_past, show_default=False, help="From then on: 2026-11-01, or 7d ago."),
    ],
    until: Annotated[
        datetime | None,
        typer.Option(
            metavar="WHEN", parser=read_past, show_default="now", help="Up to then, exclusive; at most 31 days later."
        ),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is provably safe to mend.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", dir_okay=False, show_default=False, help="Write a page for people, too."
        ),
    ] = None,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Compare mirror and ledger with Stripe, follow that to its end, and say what is different."""
    end = until or datetime.now(UTC)
    if end <= since:
        refuse("--until is after --since.")
    request = ReconcileRequest(
        request_id=new_request_id(),
        start_time=_stamp(since),
        end_time=_stamp(end),
        repair=repair,
        actor_id=options.actor_id(actor),
    )

    async def work(client: Client, _: Connection) -> Exit:
        begun = await client.gateway_ops.Reconcile(request)
        report = await _followed(client, begun.reconciliation_id, quiet=as_json)
        if html is not None:
            html.write_text(page(report), encoding="utf-8")
        if as_json:
            print_json(as_document(report))
        else:
            _tell(report)
        stands = report.cut_short or any(not one.repaired for one in report.differences)
        return Exit.NOT_AS_WANTED if stands else Exit.OK

    call(context, work, as_json=as_json)


async def _followed(client: Client, reconciliation_id: str, *, quiet: bool) -> GetReconciliationResponse:
    """Wait for the end of a run, and return it with all that it found."""
    import asyncio  # noqa: PLC0415 help needs neither, and starts faster

    from batzen.errors import Unavailable  # noqa: PLC0415

    request = GetReconciliationRequest(reconciliation_id=reconciliation_id, page_size=1)
    told, away = "", 0
    while True:
        try:
            report = await client.gateway_ops.GetReconciliation(request)
        except Unavailable:
            away += 1
            if away > AWAY_MAX:
                raise
        else:
            away = 0
            if report.done:
                return await _whole(client, reconciliation_id)
            now = f"day {report.days_done + 1} of {report.day_count}: {report.step}" + _because(report.problem)
            if not quiet and now != told:
                error_console.print(Text(now, style="dim"))
                told = now
        await asyncio.sleep(LOOK_EVERY_S)


def _because(problem: str) -> str:
    return f" (waits: {problem})" if problem else ""


async def _whole(client: Client, reconciliation_id: str) -> GetReconciliationResponse:
    request = GetReconciliationRequest(reconciliation_id=reconciliation_id)
    report = await client.gateway_ops.GetReconciliation(request)
    while report.next_page_token:
        request.page_token = report.next_page_token
        more = await client.gateway_ops.GetReconciliation(request)
        report.differences.extend(more.differences)
        report.next_page_token = more.next_page_token
    return report


def _tell(report: GetReconciliationResponse) -> None:
    sums = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (("compared", "left"), ("matched", "right"), ("sum", "right"), ("in transit", "right")):
        sums.add_column(title, justify="right" if justify == "right" else "left")
    for one in report.sums:
        transit = money.shown(one.in_transit.amount_minor, one.in_transit.currency_code) if one.in_transit_count else ""
        sums.add_row(
            one.list.replace("_", " "),
            str(one.matched_count),
            money.shown(one.matched.amount_minor, one.matched.currency_code),
            f"{one.in_transit_count}: {transit}" if one.in_transit_count else "",
        )
    console.print(sums)
    if report.differences:
        console.print()
        console.print(_differences(report))
    console.print()
    for rest in report.unexplained:
        style = "bold red" if rest.amount_minor else "green"
        console.print(Text(f"remainder {money.shown(rest.amount_minor, rest.currency_code)}", style=style))
    clean, said = verdict(report)
    console.print(Text(said, style="green" if clean else "bold red"))


def _differences(report: GetReconciliationResponse) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("what", "of", "ours", "Stripe's", "payment", ""):
        table.add_column(title, overflow="fold", justify="right" if title in ("ours", "Stripe's") else "left")
    for one in report.differences:
        table.add_row(
            Text(KIND_NAMES[one.kind], style="dim" if one.repaired else "bold red"),
            Text(f"{one.stripe_id} {one.figure}"),
            money.shown(one.ours.amount_minor, one.ours.currency_code),
            money.shown(one.theirs.amount_minor, one.theirs.currency_code),
            Text(one.payment_id),
            Text(("mended: " if one.repaired else "") + (one.repair_reason or one.detail)),
        )
    return table


def _stamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp

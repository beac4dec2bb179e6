"""`batzen dead-letters`: what the gateway gave up, for operators to see and have done again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli import options
from batzen.cli.command_classes import Commands
from batzen.cli.moments import read_span, shown
from batzen.cli.output import Exit, as_document, call, console, print_json, refuse
from batzen.gateway.v1.ops_pb2 import (
    DeadLetter,
    DeadLetterFilter,
    ListDeadLettersRequest,
    ReplayDeadLettersRequest,
    ReplayDeadLettersResponse,
)

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.client import Client

LIST_EPILOG: Final = """Examples:

batzen dead-letters list

batzen dead-letters list --type charge.refunded --older 1h --error PaymentUnknown

batzen dead-letters list --tries               (each try that failed)

batzen dead-letters list --payload --json      (what was stored, personal data and all; the gateway logs who asked)"""
REPLAY_EPILOG: Final = """Examples:

batzen dead-letters replay events/pi_…

batzen dead-letters replay events/pi_… deliveries/pay_… --actor anna

batzen dead-letters replay --type charge.refunded --error StripeRefused

batzen dead-letters replay --all

Exit code 0 when all of them went through."""
PAGE_MAX: Final = 200
PAYLOAD_PAGE_MAX: Final = 20


class Kind(StrEnum):
    """What was given up."""

    EVENT = "event"
    DELIVERY = "delivery"
    CALL = "call"
    NOTICE = "notice"


KINDS: Final = {
    Kind.EVENT: DeadLetter.KIND_WEBHOOK_EVENT,
    Kind.DELIVERY: DeadLetter.KIND_DELIVERY,
    Kind.CALL: DeadLetter.KIND_UNSETTLED_CALL,
    Kind.NOTICE: DeadLetter.KIND_NOTICE,
}

Kinds = Annotated[list[Kind], typer.Option("--kind", help="Only of this kind; may be repeated.", show_default=False)]
Types = Annotated[
    list[str],
    typer.Option(
        "--type", metavar="TYPE", show_default=False,
        help="Only of this type of event, operation of a call, cause of a delivery, kind of a notice; may be repeated.",
    ),
]  # fmt: skip
Older = Annotated[
    timedelta | None,
    typer.Option(
        metavar="SPAN", parser=read_span, show_default=False, help="Only what was given up so long ago: 30m, 2h, 1d."
    ),
]
Error = Annotated[
    str, typer.Option(metavar="TEXT", show_default=False, help="Only with this in the last error, or of this class.")
]

app = Commands(help="What was given up after its last try.")


@app.command("list", epilog=LIST_EPILOG)
def list_dead_letters(
    context: typer.Context,
    *,
    kinds: Kinds = [],  # noqa: B006 typer's way to say none
    types: Types = [],  # noqa: B006
    older: Older = None,
    error: Error = "",
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=PAGE_MAX, help="At most so many, the oldest first.", show_default="50, or 20 payloads"),
    ] = None,
    tries: Annotated[bool, typer.Option("--tries", help="Show each try that failed.")] = False,
    payload: Annotated[
        bool, typer.Option("--payload", help=f"With what was stored, personal data too; at most {PAYLOAD_PAGE_MAX}.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """List what could not be processed or delivered, with what went wrong last."""
    if payload and limit is not None and limit > PAYLOAD_PAGE_MAX:
        refuse(f"With --payload at most {PAYLOAD_PAGE_MAX}.")
    request = ListDeadLettersRequest(
        page_size=limit or 0, filter=_filter(kinds, types, older, error), with_payload=payload
    )

    async def work(client: Client, _: Connection) -> Exit:
        answer = await client.gateway_ops.ListDeadLetters(request)
        if as_json:
            print_json([as_document(letter) for letter in answer.dead_letters])
        elif not answer.dead_letters:
            console.print("Nothing was given up." if not request.filter.ByteSize() else "There is none such.")
        elif tries or payload:
            for letter in answer.dead_letters:
                console.print(_details(letter, with_tries=tries))
        else:
            console.print(_table(answer.dead_letters))
        if answer.next_page_token and not as_json:
            console.print(f"There are more than these {len(answer.dead_letters)}; see --limit.", style="dim")
        return Exit.OK

    call(context, work, as_json=as_json)


@app.command("replay", epilog=REPLAY_EPILOG)
def replay(
    context: typer.Context,
    *,
    dead_letter_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="DEAD_LETTER_ID...", help="As `list` shows them.", show_default=False),
    ] = None,
    kinds: Kinds = [],  # noqa: B006 typer's way to say none
    types: Types = [],  # noqa: B006
    older: Older = None,
    error: Error = "",
    everything: Annotated[bool, typer.Option("--all", help="All that there is now.")] = False,
    actor: options.Actor = "",
    as_json: options.Json = False,
) -> None:
    """Try dead letters again, now, with fresh tries, and say what came of each."""
    chosen = _filter(kinds, types, older, error)
    if sum((bool(dead_letter_ids), bool(chosen.ByteSize()), everything)) != 1:
        refuse("Give ids, or filters, or --all.")
    if not chosen.HasField("hold_before_time"):
        chosen.hold_before_time.FromDatetime(datetime.now(UTC))  # or what fails again would be tried for ever

    async def work(client: Client, _: Connection) -> Exit:
        whole = ReplayDeadLettersResponse(more_waiting=True)
        while whole.more_waiting:
            request = ReplayDeadLettersRequest(request_id=new_request_id(), actor_id=options.actor_id(actor))
            if dead_letter_ids:
                request.dead_letter_ids.extend(dead_letter_ids)
            else:
                request.filter.CopyFrom(chosen)
            answer = await client.gateway_ops.ReplayDeadLetters(request)
            if not as_json:
                _tell(answer)
            whole.outcomes.extend(answer.outcomes)
            whole.more_waiting = answer.more_waiting
        if as_json:
            print_json(as_document(whole))
        elif not whole.outcomes:
            console.print("There is none such.")
        return Exit.OK if all(outcome.succeeded for outcome in whole.outcomes) else Exit.NOT_AS_WANTED

    call(context, work, as_json=as_json)


def _filter(kinds: list[Kind], types: list[str], older: timedelta | None, error: str) -> DeadLetterFilter:
    chosen = DeadLetterFilter(kinds=[KINDS[kind] for kind in kinds], subject_types=types, error=error)
    if older is not None:
        chosen.hold_before_time.FromDatetime(datetime.now(UTC) - older)
    return chosen


def _table(found: Iterable[DeadLetter]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("dead letter", "since", "about", "tries", "last error"):
        table.add_column(title, overflow="fold")
    for letter in found:
        table.add_row(
            Text(letter.dead_letter_id, style="bold"),
            letter.hold_time.ToDatetime().isoformat(sep=" ", timespec="seconds"),
            _about(letter),
            str(letter.attempt_count),
            Text(letter.last_error),
        )
    return table


def _details(letter: DeadLetter, *, with_tries: bool) -> RenderableType:
    lines: list[RenderableType] = [Text.assemble((letter.dead_letter_id, "bold"), "   ", _about(letter))]
    lines += [
        Text(f"  {shown(one.try_time)}  {one.error_class}: {one.error}") for one in letter.tries if with_tries
    ] or [Text(f"  {shown(letter.hold_time)}  {letter.last_error}")]
    for one in letter.payloads:
        lines.append(Text(f"  {one.subject_type} {one.subject_id} of {shown(one.receive_time)}", style="dim"))
        lines.append(Text(one.body.decode(errors="replace")))
    if letter.payloads_left_out_count:
        lines.append(Text(f"  {letter.payloads_left_out_count} more are not shown", style="dim"))
    return Group(*lines)


def _tell(answer: ReplayDeadLettersResponse) -> None:
    for outcome in answer.outcomes:
        came = Text("went through", style="green") if outcome.succeeded else Text(outcome.error, style="red")
        console.print(Text.assemble((outcome.dead_letter_id, "bold"), "   ", came))


def _about(letter: DeadLetter) -> str:
    parts = (letter.subject_type, letter.subject_id, letter.payment_id)
    return " ".join(part for part in dict.fromkeys(parts) if part)

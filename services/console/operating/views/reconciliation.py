"""Reconciliations: what was compared with Stripe, and what is different."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from batzen.gateway.v1.ops_pb2 import GetReconciliationResponse, OperatorAction
from services.console.operating import cells
from services.console.operating.blocks import (
    Block,
    Cell,
    Column,
    Empty,
    Fact,
    Facts,
    Field,
    Form,
    Note,
    Row,
    Table,
    Tile,
    Tiles,
    Tone,
)

PATH: Final = "/reconciliations"
METHOD: Final = "Reconcile"
"""What an operator's action is called that began one."""
Difference = GetReconciliationResponse.Difference
KINDS: Final = {
    Difference.KIND_MISSING_HERE: "Stripe has it, we do not",
    Difference.KIND_MISSING_THERE: "We have it, Stripe does not",
    Difference.KIND_AMOUNT: "Other amounts",
    Difference.KIND_UNCLASSIFIED: "No rule books it",
    Difference.KIND_NOT_SETTLED: "A seller has not its due",
    Difference.KIND_LEDGER_UNBALANCED: "Entries do not come to zero",
    Difference.KIND_CLEARING_OLD: "No balance transaction for 3 days",
    Difference.KIND_UNASKED: "No call of ours asked for it",
    Difference.KIND_PAYOUT: "Not what its parts come to",
    Difference.KIND_CLOSING: "A day's closing is wrong",
    Difference.KIND_NOT_DELIVERED: "The orchestrator was not told",
}
RUNS: Final = (
    Column(title="Reconciliation"),
    Column(title="Asked for by"),
    Column(title="When"),
)
NONE: Final = Empty(
    title="No reconciliation was asked for yet.",
    hint="One compares ledger and mirror with Stripe over a span of days, list by list.",
)


def runs(actions: Iterable[OperatorAction], *, now: datetime) -> Table:
    """Return the runs that operators asked for."""
    return Table(
        key="runs",
        caption="Reconciliations, the newest first",
        columns=RUNS,
        rows=tuple(
            Row(
                key=one.subject_id,
                cells=(
                    cells.code(one.subject_id, href=f"{PATH}/{one.subject_id}"),
                    cells.said(one.actor_id),
                    cells.moment(one.create_time, now=now),
                ),
            )
            for one in actions
            if one.method == METHOD
        ),
        empty=NONE,
    )


def start_form(*, first: str, last: str) -> Form:
    """Return how one is begun; the dates are what it proposes."""
    return Form(
        key="start",
        title="Compare with Stripe",
        action=PATH,
        submit="Begin",
        consequence="It reads Stripe day by day and goes on by itself. Nothing is changed unless you let it mend.",
        fields=(
            Field(name="first", label="From (UTC day)", kind="date", value=first, is_required=True),
            Field(name="last", label="Up to and with (UTC day)", kind="date", value=last, is_required=True),
            Field(
                name="repair",
                label="Mend what is provably safe to mend",
                kind="check",
                hint="A payment is read again, a missing balance transaction is booked. "
                "Nothing is deleted, changed or guessed.",
            ),
        ),
    )


def details(run: GetReconciliationResponse, *, now: datetime) -> tuple[Block, ...]:
    """Return how far a run is and what it compared; the differences are a table of their own."""
    return (*_notes(run), _tiles(run), _facts(run, now), _counts(run), _sums(run))


def differences(run: GetReconciliationResponse, *, now: datetime) -> Table:
    """Return a page of what is different."""
    return Table(
        key="differences",
        caption="Differences",
        columns=(
            Column(title="What is different"),
            Column(title="Where"),
            Column(title="At Stripe"),
            Column(title="Payment"),
            Column(title="Ours", is_number=True),
            Column(title="Stripe's", is_number=True),
            Column(title="Mended"),
            Column(title="What it means", is_wide=True),
            Column(title="Found"),
        ),
        rows=tuple(_difference(place, one, now) for place, one in enumerate(run.differences)),
        empty=Empty(
            title="No differences." if run.done else "No differences yet.",
            hint="" if run.done else "It is still comparing.",
        ),
    )


def _notes(run: GetReconciliationResponse) -> tuple[Note, ...]:
    notes = []
    if run.cut_short:
        notes.append(Note(title="It ended before it had compared everything.", text=run.cut_short, tone=Tone.BAD))
    if run.problem:
        notes.append(Note(title="The last try failed; it is tried again.", text=run.problem, tone=Tone.WARN))
    return tuple(notes)


def _tiles(run: GetReconciliationResponse) -> Tiles:
    standing = sum(one.count for one in run.counts)
    is_clean = not any(one.amount_minor for one in run.unexplained)
    return Tiles(
        key="sums",
        title="In short",
        tiles=(
            Tile(
                name="Compared",
                value=f"{run.days_done} of {run.day_count} days",
                note="done" if run.done else run.step or "waits",
                tone=Tone.GOOD if run.done and not run.cut_short else Tone.WARN,
            ),
            Tile(name="Equal", value=cells.count(run.matched_count).text, note="seen on both sides"),
            Tile(
                name="Different",
                value=cells.count(standing).text,
                note=f"{run.repaired_count} mended",
                tone=Tone.BAD if standing else Tone.GOOD,
            ),
            Tile(
                name="Unexplained",
                value=cells.amounts(run.unexplained),
                note="each counted without its sign",
                tone=Tone.GOOD if is_clean else Tone.BAD,
            ),
        ),
    )


def _facts(run: GetReconciliationResponse, now: datetime) -> Facts:
    return Facts(
        key="run",
        title="What was asked for",
        facts=(
            Fact(name="From", value=cells.moment(run.start_time)),
            Fact(name="Up to", value=cells.moment(run.end_time)),
            Fact(name="Mends", value=cells.said("What is safe to mend" if run.repair else "Nothing")),
            Fact(name="Asked for by", value=cells.said(run.actor_id)),
            Fact(name="Asked for", value=cells.moment(run.create_time, now=now)),
            Fact(name="Ended", value=cells.moment(run.finish_time, now=now)),
        ),
    )


def _counts(run: GetReconciliationResponse) -> Table:
    return Table(
        key="counts",
        caption="Differences that stand, by kind",
        columns=(Column(title="What is different"), Column(title="How many", is_number=True)),
        rows=tuple(
            Row(key=str(one.kind), cells=(_kind(one.kind), cells.count(one.count, tone=Tone.BAD))) for one in run.counts
        ),
        empty=Empty(title="None stands."),
    )


def _sums(run: GetReconciliationResponse) -> Table:
    return Table(
        key="compared",
        caption="What was compared",
        columns=(
            Column(title="List"),
            Column(title="Equal", is_number=True),
            Column(title="Equal, amount", is_number=True),
            Column(title="In transit", is_number=True),
            Column(title="In transit, amount", is_number=True),
        ),
        rows=tuple(
            Row(
                key=f"{one.list}-{one.matched.currency_code}",
                cells=(
                    cells.said(cells.word(one.list)),
                    cells.count(one.matched_count),
                    cells.amount(one.matched),
                    cells.count(one.in_transit_count),
                    cells.amount(one.in_transit),
                ),
            )
            for one in run.sums
        ),
        empty=Empty(title="Nothing was compared yet."),
    )


def _difference(place: int, one: Difference, now: datetime) -> Row:
    return Row(
        key=str(place),
        cells=(
            _kind(one.kind),
            cells.said(cells.word(one.list), note=one.figure),
            cells.code(one.stripe_id),
            cells.payment(one.payment_id),
            cells.amount(one.ours) if one.HasField("ours") else cells.said(""),
            cells.amount(one.theirs) if one.HasField("theirs") else cells.said(""),
            cells.badge("Mended", Tone.GOOD, note=one.repair_reason)
            if one.repaired
            else cells.badge("Stands", Tone.BAD, note=one.repair_reason),
            cells.said(one.detail),
            cells.moment(one.find_time, now=now),
        ),
    )


def _kind(kind: Difference.Kind) -> Cell:
    return cells.said(KINDS.get(kind, f"Of kind {kind}"))

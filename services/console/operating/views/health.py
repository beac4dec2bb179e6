"""How the suite does, against the limits of the old specification."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from services.console.operating import cells
from services.console.operating.blocks import Block, Column, Empty, Light, Lights, Note, Row, Table, Tone
from services.console.operating.limits import Measured, measured
from services.console.operating.metrics_reader import Health, Process

PATH: Final = "/health"


def unknown() -> tuple[Block, ...]:
    """Return that nobody is asked here."""
    return (
        Note(
            title="Figures are not read here.",
            text="BATZEN_METRICS_SOURCES names no process. The dashboards of docs/operating.md show the same limits.",
        ),
    )


def health(found: Health, *, now: datetime) -> tuple[Block, ...]:
    """Return all limits as lights, and the processes."""
    if found.asked is None:
        return (Note(title="Nobody was asked yet.", text="The first figures come within moments."),)
    silent = [one for one in found.processes if one.problem]
    notes = (
        (Note(title=f"{len(silent)} of {len(found.processes)} processes said nothing.", tone=Tone.BAD),)
        if silent
        else ()
    )
    since = cells.span(found.length) if found.length.total_seconds() >= 1 else "moment"
    return (
        *notes,
        Lights(
            key="limits",
            title="Limits",
            lights=tuple(_light(one) for one in measured(found.counts, length=found.length)),
            note=f"Over the last {since}; asked {cells.away(found.asked, now)}.",
        ),
        _processes(found),
    )


def _light(one: Measured) -> Light:
    if one.good is None:
        tone, says = Tone.QUIET, "Not known"
    elif not one.good:
        tone, says = Tone.BAD, "Not kept"
    else:
        tone, says = (Tone.WARN, "Close") if one.is_close else (Tone.GOOD, "Kept")
    return Light(name=one.name, value=one.says, limit=one.limit, tone=tone, says=says, share=one.share)


def _processes(found: Health) -> Table:
    return Table(
        key="processes",
        caption="Processes",
        columns=(
            Column(title="Service"),
            Column(title="Stands"),
            Column(title="Calls now", is_number=True),
            Column(title="Streams", is_number=True),
            Column(title="Version"),
            Column(title="Address"),
        ),
        rows=tuple(_process(one) for one in found.processes),
        empty=Empty(title="There is no process."),
    )


def _process(one: Process) -> Row:
    if one.problem:
        stands = cells.badge("Silent", Tone.BAD, note=one.problem)
    else:
        stands = cells.yes_no(one.is_ready, good="Ready", bad="Not ready")
    return Row(
        key=one.address,
        cells=(
            cells.said(one.service),
            stands,
            cells.count(one.in_flight),
            cells.count(one.streams),
            cells.said(one.version),
            cells.code(one.address),
        ),
    )

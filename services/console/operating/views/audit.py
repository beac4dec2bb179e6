"""Who did what: what services wrote down of operators' actions, and this front of log-ins, views and exports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from batzen.gateway.v1.ops_pb2 import OperatorAction as GatewayAction
from batzen.orchestrator.v1.ops_pb2 import OperatorAction
from services.console.operating import cells
from services.console.operating.blocks import Cell, CellKind, Column, Empty, Field, Option, Row, Table, Tone

PATH: Final = "/audit"
SOURCES: Final = {"": "Decisions on payments", "gateway": "Decisions at Stripe", "console": "Log-ins, views, exports"}
"""Each is kept, and paged, where it was written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What somebody did at this front."""

    audit_id: int
    subject: str
    what: str
    about: str
    detail: str
    client_ip: str
    correlation_id: str
    act_time: datetime


def filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return what may be asked for."""
    return (
        Field(
            name="source",
            label="What",
            kind="select",
            value=query.get("source", ""),
            options=[Option(value=value, text=text) for value, text in SOURCES.items()],
        ),
        Field(name="actor", label="Who", value=query.get("actor", ""), characters_max=128),
        Field(name="payment", label="Payment", value=query.get("payment", "")),
    )


def decisions(actions: Iterable[OperatorAction], *, now: datetime) -> Table:
    """Return what operators did by the orchestrator."""
    return Table(
        key="decisions",
        caption="Decisions on payments, the newest first",
        columns=(
            Column(title="When"),
            Column(title="Who"),
            Column(title="What"),
            Column(title="Payment"),
            Column(title="Reason", is_wide=True),
            Column(title="Outcome"),
            Column(title="Asked for", is_wide=True),
            Column(title="Request"),
        ),
        rows=tuple(
            Row(
                key=str(one.action_id),
                cells=(
                    cells.moment(one.create_time, now=now),
                    cells.said(one.actor_id, note=f"by {one.caller}" if one.caller != one.actor_id else ""),
                    cells.said(_method(one.method)),
                    cells.payment(one.payment_id),
                    cells.said(one.reason),
                    cells.badge("Refused", Tone.BAD, note=one.refusal)
                    if one.refusal
                    else cells.badge("Done", Tone.GOOD),
                    Cell(text=one.asked_json or cells.NOTHING, kind=CellKind.CODE),
                    cells.code(one.request_id),
                ),
            )
            for one in actions
        ),
        empty=_none(),
    )


def at_stripe(actions: Iterable[GatewayAction], *, now: datetime) -> Table:
    """Return what operators did by the gateway."""
    return Table(
        key="at-stripe",
        caption="Decisions at Stripe, the newest first",
        columns=(
            Column(title="When"),
            Column(title="Who"),
            Column(title="What"),
            Column(title="Payment"),
            Column(title="Reason", is_wide=True),
            Column(title="Asked for", is_wide=True),
            Column(title="What came of it", is_wide=True),
            Column(title="Made"),
        ),
        rows=tuple(
            Row(
                key=f"{one.method}-{one.subject_id}",
                cells=(
                    cells.moment(one.create_time, now=now),
                    cells.said(one.actor_id),
                    cells.said(_method(one.method)),
                    cells.payment(one.payment_id),
                    cells.said(one.reason),
                    Cell(text=one.asked_json or cells.NOTHING, kind=CellKind.CODE),
                    Cell(text=one.outcome_json or cells.NOTHING, kind=CellKind.CODE),
                    cells.code(one.subject_id),
                ),
            )
            for one in actions
        ),
        empty=_none(),
    )


def at_this_front(entries: Iterable[Entry], *, now: datetime) -> Table:
    """Return what was looked at and taken along."""
    return Table(
        key="at-this-front",
        caption="Log-ins, views and exports, the newest first",
        columns=(
            Column(title="When"),
            Column(title="Who"),
            Column(title="What"),
            Column(title="About"),
            Column(title="Detail", is_wide=True),
            Column(title="From"),
            Column(title="Correlation id"),
        ),
        rows=tuple(
            Row(
                key=str(one.audit_id),
                cells=(
                    Cell(
                        text=cells.at(one.act_time),
                        kind=CellKind.TIME,
                        note=cells.away(one.act_time, now),
                        raw=one.act_time.isoformat(),
                    ),
                    cells.said(one.subject),
                    cells.said(cells.word(one.what)),
                    cells.payment(one.about) if one.about.startswith("pay_") else cells.code(one.about),
                    cells.said(one.detail),
                    cells.said(one.client_ip),
                    cells.code(one.correlation_id),
                ),
            )
            for one in entries
        ),
        empty=_none(),
    )


def _none() -> Empty:
    return Empty(title="Nothing was written down that fits.", hint="Every decision, log-in, view and export would be.")


def _method(method: str) -> str:
    """Return `Write off receivable` of `WriteOffReceivable`."""
    return cells.word("".join(f"_{sign}" if sign.isupper() else sign for sign in method).strip("_"))

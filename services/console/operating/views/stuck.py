"""Payments that do not move, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from batzen.orchestrator.v1.ops_pb2 import Resolution, StuckPayment
from batzen.type.v1.payment_pb2 import PaymentState
from services.console.operating import cells
from services.console.operating.blocks import Cell, CellKind, Column, Empty, Field, Option, Row, Table, Tone

PATH: Final = "/stuck"
CAUSES: Final = {
    "PARKED": "Failed 20 times in a row",
    "TRANSITION_REFUSED": "Status refuses something for good",
    "OUTCOME_UNKNOWN": "Stripe does not say what became of a call",
    "QUOTE_DEAD": "Pricing does not take the end of its quote",
    "REQUEST_OPEN": "A request has no answer",
    "NOT_RECORDED": "Status has not heard of something",
    "STEP_LATE": "What its plan does is late",
    "OVERDUE": "It is due, and nobody takes it",
}
AGES: Final = {"": 0, "10m": 600, "1h": 3_600, "1d": 86_400}
"""Seconds."""
RESOLUTIONS: Final = {
    Resolution.RESOLUTION_SETTLE_AS_SEEN: "settle as seen at Stripe",
    Resolution.RESOLUTION_CANCEL: "cancel",
    Resolution.RESOLUTION_REFUND_SURPLUS: "refund the surplus",
    Resolution.RESOLUTION_GIVE_UP_TRANSITIONS: "give up what status refused",
    Resolution.RESOLUTION_CLEAR_ATTENTION: "clear attention",
    Resolution.RESOLUTION_TRY_NOW: "try now",
}
COLUMNS: Final = (
    Column(title="Payment"),
    Column(title="State"),
    Column(title="Total", is_number=True),
    Column(title="Why", is_wide=True),
    Column(title="Since"),
    Column(title="Failures", is_number=True),
    Column(title="Last error", is_wide=True),
    Column(title="Tried next"),
    Column(title="May be decided", is_wide=True),
)
NONE: Final = Empty(title="Nothing is stuck.", hint="Every payment moves, or waits for what it should wait for.")
NONE_SUCH: Final = Empty(title="Nothing stuck fits.", hint="Take a filter away to see the rest.")


def filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return what may be asked for."""
    reasons = [Option(value="", text="Any reason"), *(Option(value=key, text=text) for key, text in CAUSES.items())]
    ages = {"": "For however long", "10m": "10 minutes or more", "1h": "An hour or more", "1d": "A day or more"}
    return (
        Field(name="reason", label="Reason", kind="select", value=query.get("reason", ""), options=reasons),
        Field(
            name="age",
            label="Stuck",
            kind="select",
            value=query.get("age", ""),
            options=[Option(value=value, text=text) for value, text in ages.items()],
        ),
    )


def table(payments: Iterable[StuckPayment], *, now: datetime, is_filtered: bool) -> Table:
    """Return them as a table."""
    return Table(
        key="stuck",
        caption="Payments that do not move, the longest first",
        columns=COLUMNS,
        rows=tuple(_row(one, now) for one in payments),
        empty=NONE_SUCH if is_filtered else NONE,
    )


def _row(one: StuckPayment, now: datetime) -> Row:
    cell = cells.payment(one.payment.payment_id)
    return Row(
        key=one.payment.payment_id,
        cells=(
            cell,
            state(one.payment.state),
            cells.amount(one.payment.total),
            cells.said(
                "; ".join(CAUSES.get(cause.reason, cells.word(cause.reason)) for cause in one.causes),
                note=", ".join(cause.step for cause in one.causes if cause.step),
            ),
            cells.moment(one.stuck_time, now=now),
            cells.count(one.failures),
            cells.said(one.last_error),
            cells.moment(one.next_try_time, now=now),
            cells.said(", ".join(RESOLUTIONS[way] for way in one.resolutions if way in RESOLUTIONS), href=cell.href),
        ),
    )


_TONES: Final = {
    "SUCCEEDED": Tone.GOOD,
    "FAILED": Tone.BAD,
    "DISPUTED": Tone.BAD,
    "DISPUTE_LOST": Tone.BAD,
    "PROCESSING": Tone.WARN,
    "REQUIRES_ACTION": Tone.WARN,
}


def state(value: PaymentState) -> Cell:
    """Return how a payment stands."""
    try:
        name = PaymentState.Name(value).removeprefix("PAYMENT_STATE_")
    except ValueError:
        return cells.badge(str(value), Tone.PLAIN)
    return Cell(text=cells.word(name), kind=CellKind.BADGE, tone=_TONES.get(name, Tone.PLAIN), raw=name)

"""How the demo looks: a panel per payment that grows as it moves, and the summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from batzen.cli import money, states
from batzen.cli.output import as_document
from batzen.status.v1.status_pb2 import Transition
from batzen.type.v1.money_pb2 import Money
from local.record import Deed, Record, time_of

WIDTH_MAX: Final = 100
REFRESH_PER_S: Final = 12
STATE_WIDTH: Final = 25
"""Of the longest state, `requires payment method`, with its sign."""
PAYMENT_ID_WIDTH: Final = 30


@dataclass(slots=True, kw_only=True)
class Shown:
    """One payment of the demo: what it is about, what happened, and what went wrong if something did."""

    number: int
    title: str
    wanted: tuple[str, ...]
    record: Record
    failure: str | None = None
    is_over: bool = False

    @property
    def is_as_wanted(self) -> bool:
        """Whether it went through the wanted states in their order, ended in the last, and nothing failed."""
        went = iter(self.record.states)
        passed = all(state in went for state in self.wanted)
        return self.failure is None and passed and states.name(self.record.payment.state) == self.wanted[-1]

    @property
    def own_s(self) -> float | None:
        """What of the waiting was neither the stand-in's nor the network's way to it: the suite's own time."""
        return None if self.record.stripe_s is None else self.record.waited_s - self.record.stripe_s


class DemoView:
    """Shows payments one after another: alive in a terminal, line by line elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._current: Shown | None = None
        self._printed = 0
        self._live: Live | None = None

    def begin(self, shown: Shown) -> None:
        """Turn to a payment, which may have moved already."""
        self._current, self._printed = shown, 0
        if self._console.is_terminal:
            self._live = Live(_panel(shown), console=self._console, refresh_per_second=REFRESH_PER_S)
            self._live.start()
        else:
            self._console.print(f"\n{shown.number}. {shown.title}, {_amount(shown.record.total)}")
            self.changed(shown)

    def changed(self, shown: Shown) -> None:
        """Show what is new, if this payment is the one on the screen."""
        if shown is not self._current:
            return
        if self._live is not None:
            self._live.update(_panel(shown))
            return
        for event in shown.record.happened[self._printed :]:
            self._console.print(_line(shown.record, event), soft_wrap=True)
        self._printed = len(shown.record.happened)

    def end(self, shown: Shown) -> None:
        """Leave a payment as it stands now."""
        shown.is_over = True
        self.changed(shown)
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif shown.failure is not None:
            self._console.print(Text(f"✗ {shown.failure}", style="red"))
        self._current = None

    def summary(self, all_shown: Sequence[Shown], *, note: str) -> None:
        self._console.print()
        self._console.print(_summary(all_shown, width=min(self._console.width, WIDTH_MAX)))
        self._console.print(note, style="dim", width=min(self._console.width, WIDTH_MAX))


def document(shown: Shown) -> dict[str, Any]:
    """Return a payment of the demo for programs; durations in milliseconds."""
    record = shown.record
    return {
        "title": shown.title,
        "payment_id": record.payment.payment_id,
        "total": as_document(record.total),
        "states": record.states,
        "wanted": list(shown.wanted),
        "ended_as_wanted": shown.is_as_wanted,
        "failure": shown.failure,
        "amounts": as_document(record.payment.snapshot.amounts),
        "waited_ms": _ms(record.waited_s),
        "stripe_ms": None if record.stripe_s is None else _ms(record.stripe_s),
        "own_ms": None if shown.own_s is None else _ms(shown.own_s),
    }


def _panel(shown: Shown) -> Panel:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(justify="right", width=9)
    table.add_column(ratio=1)
    for event in shown.record.events:
        table.add_row(*_event(shown.record, event))
    if shown.failure is not None:
        table.add_row("", Text(f"✗ {shown.failure}", style="red"))
    style = "dim" if not shown.is_over else "green" if shown.is_as_wanted else "red"
    heading = (f" {shown.number}  {shown.title} ", "bold")
    return Panel(
        table,
        title=Text.assemble(heading, f"· {_amount(shown.record.total)} "),
        subtitle=Text(f" {shown.record.payment.payment_id} ", style="dim"),
        title_align="left",
        subtitle_align="right",
        border_style=style,
        width=WIDTH_MAX,
    )


def _event(record: Record, event: Deed | Transition) -> tuple[Text, Text | Table]:
    """Return when it happened, and what."""
    if isinstance(event, Deed):
        return _since(record, event), Text(f"→ {event.text}", style="dim")
    row = Table.grid(padding=(0, 2))
    row.add_column(width=STATE_WIDTH, no_wrap=True)
    row.add_column()
    row.add_row(states.label(event.state), _remark(record, event))
    return _since(record, event), row


def _line(record: Record, event: Deed | Transition) -> Text:
    """Return an event as one plain line."""
    if isinstance(event, Deed):
        return Text.assemble(_since(record, event), f"  → {event.text}")
    label = states.label(event.state)
    label.pad_right(STATE_WIDTH - len(label))
    return Text.assemble(_since(record, event), "  ", label, "  ", _remark(record, event))


def _remark(record: Record, update: Transition) -> Text:
    method = Text(states.method(update.snapshot), style="dim")
    return states.joined([states.remark(update, record.total.currency_code), method], " · ")


def _since(record: Record, event: Deed | Transition) -> Text:
    """Return the time since the shop began."""
    since = time_of(event) - time_of(record.happened[0])
    return Text(f"{since.total_seconds():7.3f} s", style="dim")


def _summary(all_shown: Sequence[Shown], *, width: int) -> Table:
    """Return a row a payment; where that is too wide, what it went through stands below its title."""
    is_wide = width >= WIDTH_MAX
    table = Table(box=None, pad_edge=False, header_style="dim", width=width, padding=(0, 2, 1, 0))
    table.add_column("")
    table.add_column("payment", width=PAYMENT_ID_WIDTH if is_wide else None, ratio=None if is_wide else 1)
    if is_wide:
        table.add_column("went through", ratio=1)
    table.add_column("amounts", no_wrap=True)
    table.add_column("us", justify="right", no_wrap=True)
    table.add_column("Stripe", justify="right", no_wrap=True)
    for shown in all_shown:
        record = shown.record
        mark = Text("✓", style="bold green") if shown.is_as_wanted else Text("✗", style="bold red")
        titled = Text.assemble((shown.title, "bold"), "\n", (record.payment.payment_id, "dim"))
        went = _went_through(record)
        table.add_row(
            mark,
            *([titled, went] if is_wide else [Text("\n").join([titled, went])]),
            _amounts(record),
            _shown_ms(shown.own_s),
            _shown_ms(record.stripe_s),
        )
    return table


def _went_through(record: Record) -> Text:
    """Return the states in their order: the last in words, the others, which were shown above, by their signs."""
    *passed, last = _distinct(record.updates) or [0]
    return Text(" ").join([*(states.sign(state) for state in passed), states.label(last)])


def _amounts(record: Record) -> Text:
    amounts = record.payment.snapshot.amounts
    currency = record.total.currency_code
    lines = [_amount(record.total)]
    if amounts.captured_minor:
        lines.append(f"captured {money.shown(amounts.captured_minor, currency)}")
    if amounts.refunded_minor:
        lines.append(f"refunded {money.shown(amounts.refunded_minor, currency)}")
    if amounts.disputed_lost_minor:
        lines.append(f"lost {money.shown(amounts.disputed_lost_minor, currency)}")
    return Text("\n").join([Text(lines[0], style="bold"), *(Text(line) for line in lines[1:])])


def _distinct(updates: Sequence[Transition]) -> list[int]:
    """Return the states in their order, once where only amounts moved."""
    return [state for state, _ in groupby(update.state for update in updates)]


def _amount(amount: Money) -> str:
    return money.shown(amount.amount_minor, amount.currency_code)


def _shown_ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{_ms(seconds):.0f} ms"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)

"""The lines of a payment's stream in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from batzen.cli import states
from batzen.cli.output import as_document, console, print_json_line
from batzen.status.v1.status_pb2 import Transition


class StreamPrinter:
    """Prints each transition as it comes: since the first one, state, what there is to say."""

    def __init__(self, *, as_json: bool, currency_code: str = "") -> None:
        self.currency_code = currency_code
        self._as_json = as_json
        self._first: datetime | None = None

    def __call__(self, update: Transition) -> None:
        if self._as_json:
            print_json_line(as_document(update))
            return
        at = update.record_time.ToDatetime(UTC)
        self._first = self._first or at
        console.print(line(update, since_s=(at - self._first).total_seconds(), currency_code=self.currency_code))


def line(update: Transition, *, since_s: float, currency_code: str) -> Table:
    """Return one transition as a line of aligned columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", width=11)
    table.add_column(width=26, no_wrap=True)
    table.add_column(ratio=1)
    method = Text(states.method(update.snapshot), style="dim")
    remark = states.joined([states.remark(update, currency_code), method], " · ")
    table.add_row(Text(f"{since_s:,.3f} s", style="dim"), states.label(update.state), remark)
    return table

"""What happens while a suite starts: a line per step, alive in a terminal, plain elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

REFRESH_PER_S: Final = 12


class Progress:
    """Shows steps as they begin and are done; `report` is what `running_suite` wants. Use it with `with`."""

    def __init__(self, console: Console, *, title: str) -> None:
        self._console = console
        self._title = title
        self._began = time.monotonic()
        self._steps: dict[str, tuple[float, float | None]] = {}
        self._live: Live | None = None

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def report(self, name: str, is_done: bool) -> None:
        began, _ = self._steps.get(name, (self.elapsed_s, None))
        self._steps[name] = (began, self.elapsed_s if is_done else None)
        if self._live is not None:
            self._live.update(self._table())
        elif is_done:
            self._console.print(f"{name} ready after {self.elapsed_s:.1f} s")

    def __enter__(self) -> Self:
        self._console.print(Text(self._title, style="bold"))
        if self._console.is_terminal:
            # Gone when it is done: what remains on the screen is what the suite is for.
            self._live = Live(self._table(), console=self._console, refresh_per_second=REFRESH_PER_S, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Show no more; what runs on has the terminal to itself."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, (began, ended) in self._steps.items():
            took = Text(f"{(ended or self.elapsed_s) - began:4.1f} s", style="dim")
            table.add_row(Text("  ✓", style="green") if ended else Spinner("dots", text="", style="cyan"), name, took)
        return table

"""What a bench found out: tables for people, in the terminal and in the documents, and all figures for machines."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.machine import Machine

_BOLD: Final = re.compile(r"\*\*(.+?)\*\*")
"""Cells are written in Markdown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One table, its cells in Markdown. The first cell of a row says what it is about."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()
    is_for_summary: bool = True
    """Whether its rows that begin in bold stand in a summary, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one bench found out."""

    title: str
    tables: list[Figures]
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """Every figure as measured; those in the tables are medians of them."""

    def show(self, console: Console) -> None:
        """Print the tables."""
        console.print(f"\n[bold]{self.title}[/]")
        for figures in self.tables:
            table = Table(title=figures.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
            for number, column in enumerate(figures.columns):
                table.add_column(column, justify="right" if number else "left")
            for row in figures.rows:
                table.add_row(*(_BOLD.sub(r"[bold]\1[/]", cell) for cell in row))
            console.print()
            console.print(table)
            for note in figures.notes:
                console.print(f"[dim]{note}[/]")

    def to_json(self) -> dict[str, Any]:
        tables = [
            {"title": one.title, "columns": one.columns, "rows": one.rows, "notes": one.notes} for one in self.tables
        ]
        return {"title": self.title, "tables": tables, "rounds": self.rounds}


def into_markdown(result: Result, machine: Machine) -> str:
    """Return the tables as Markdown, with the date and the machine they were measured on."""
    parts = [f"{result.title}. {machine}"]
    for figures in result.tables:
        lines = ["| " + " | ".join((figures.title, *figures.columns[1:])) + " |"]
        lines.append("| --- |" + " ---: |" * (len(figures.columns) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in figures.rows]
        parts.append("\n".join(lines))
        parts += figures.notes
    return "\n\n".join(parts) + "\n"


def summarised(results: Iterable[Result]) -> Figures:
    """Return the rows that matter most, those that begin in bold, of benches whose tables have the same columns."""
    rows: list[tuple[str, ...]] = []
    columns: tuple[str, ...] = ()
    for result in results:
        for figures in result.tables:
            bold = [row for row in figures.rows if row[0].startswith("**")]
            if figures.is_for_summary and bold:
                columns = figures.columns
                rows.append((f"*{result.title}: {figures.title}*", *[""] * (len(columns) - 1)))
                rows += [(_BOLD.sub(r"\1", row[0]), *row[1:]) for row in bold]
    return Figures(title="", columns=columns, rows=rows)


def blocks(text: str, name: str, markdown: str) -> str:
    """Return `text` with `markdown` between its marks of that name, unchanged if it has none."""
    marked = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{markdown}{found[2]}", text)


def median(rounds: Iterable[float]) -> float:
    return statistics.median(rounds)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all are no larger than."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def ms(seconds: float) -> str:
    return f"{seconds * 1_000:.2f}" if abs(seconds) < 0.01 else f"{seconds * 1_000:.1f}"


def us(seconds: float) -> str:
    return f"{seconds * 1_000_000:.0f}"


def times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"

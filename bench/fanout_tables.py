"""What the rounds of the fan-out come to: a table for each number of watchers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.fanout_cell import STEADY_PER_S, Cell
from bench.figures import Figures, median, ms, us
from bench.goals import COLUMNS, Goal, at_least, at_most, bounded, judged, shown, unjudged
from bench.subjects import NO_NODE, SUBJECTS, is_here

MANY_VS_SOCKETS: Final = at_least(3, 5)
MANY_VS_ROOMS: Final = at_least(1.5, 2.5)
MANY_P99_MS: Final = at_most(10, 2.5)
MANY_MEMORY: Final = at_most(0.15, 0.08)
SINGLE_VS_SOCKETIO: Final = at_least(2, 3.5)
SINGLE_VS_NODE: Final = at_least(0.4, 0.65)
P50_VS_NODE: Final = at_most(3, 2)
SHARED_MEMORY: Final = at_most(0.5, 0.47)
ALONE_MEMORY_VS_SOCKETIO: Final = at_most(0.8, 0.76)
ALONE_MEMORY_VS_NODE: Final = at_most(2.5, 1.5)
OPEN_VS_SOCKETIO: Final = at_most(0.35, 0.2)
OPEN_VS_NODE: Final = at_most(1.1, 0.6)
SUMMARISED: Final = 5_000
"""Watchers of the table that stands for all."""
SMALLEST: Final = 1e-9
"""In the place of a peer's nothing: processor time comes in ticks of 10 ms."""
NOT_MEASURED: Final = float("nan")


@dataclass(frozen=True, slots=True)
class _Figure:
    """Something about a cell, and how it is written."""

    of: Callable[[Cell], float]
    write: Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What was measured in turns, for one number of watchers."""

    watchers: int
    cells: dict[str, Cell]


def tables(rounds: Sequence[Round]) -> list[Figures]:
    """Return a table for each number of watchers."""
    return [
        _table(watchers, [one.cells for one in rounds if one.watchers == watchers])
        for watchers in sorted({one.watchers for one in rounds})
    ]


class _Rows:
    def __init__(self, rounds: Sequence[dict[str, Cell]]) -> None:
        self._rounds = rounds
        self.rows: list[tuple[str, ...]] = []

    def beside(self, what: str, figure: _Figure, ours: str, peer: str, goal: Goal | None = None) -> None:
        """Add a row about a ratio within rounds, if there were such rounds, or would have been with Node."""
        both = [one for one in self._rounds if ours in one and peer in one]
        if both:
            written = [figure.write(median(figure.of(one[name]) for one in both)) for name in (ours, peer)]
            ratios = [figure.of(one[ours]) / max(figure.of(one[peer]), SMALLEST) for one in both]
            self.rows.append(judged(what, written[0], written[1], ratios, goal))
        elif not is_here(SUBJECTS[peer]) and (values := [figure.of(one[ours]) for one in self._rounds if ours in one]):
            self.rows.append(unjudged(what, figure.write(median(values)), NO_NODE, goal))

    def alone(self, what: str, figure: _Figure, ours: str, goal: Goal | None = None, *, unit: float = 1.0) -> None:
        """Add a row about a figure by itself, with bounds in its `unit`, if there is one."""
        values = [figure.of(one[ours]) for one in self._rounds if ours in one]
        if values:
            value = median(values)
            written = figure.write(value)
            self.rows.append(shown(what, written) if goal is None else bounded(what, written, value / unit, goal))


def _steady(share: str) -> Callable[[Cell], float]:
    return lambda cell: getattr(cell.steady, share, NOT_MEASURED)


PEAK: Final = _Figure(lambda cell: cell.peak_per_s, lambda per_s: f"{per_s:,.0f}")
BEST_CPU: Final = _Figure(lambda cell: cell.best_cpu_s, lambda seconds: f"{seconds * 1e6:.1f}")
P50: Final = _Figure(_steady("p50_s"), ms)
P99: Final = _Figure(_steady("p99_s"), ms)
MEMORY: Final = _Figure(lambda cell: cell.memory_bytes, lambda size: f"{size / 1024:.1f}")
OPEN: Final = _Figure(lambda cell: cell.open_cpu_s, us)


def _table(watchers: int, rounds: Sequence[dict[str, Cell]]) -> Figures:
    rows = _Rows(rounds)
    many, single = "`WatchMany`", "`WatchPayment`"
    of_socketio = SINGLE_VS_SOCKETIO if watchers <= 5_000 else None  # beyond, grpc.aio itself does not reach it
    rows.beside(f"**{many}**: peak/s, Node with a socket each", PEAK, "many", "node", MANY_VS_SOCKETS)
    rows.beside(f"**{many}**: peak/s, Node with many rooms a socket", PEAK, "many", "node-rooms", MANY_VS_ROOMS)
    rows.beside(f"{many}, `latest_only`: peak/s, Node with a socket each", PEAK, "many-latest", "node")
    rows.beside(f"{many}, `latest_only`: peak/s, Node with many rooms", PEAK, "many-latest", "node-rooms")
    rows.beside(f"{many}: peak/s, bare grpc.aio", PEAK, "many", "bare-many")
    rows.beside(f"**{single}**: peak/s, python-socketio", PEAK, "single", "socketio", of_socketio)
    rows.beside(f"**{single}**: peak/s, python-socketio on sansio", PEAK, "single", "socketio-sansio", of_socketio)
    rows.beside(f"**{single}**: peak/s, Node", PEAK, "single", "node", SINGLE_VS_NODE)
    rows.beside(f"{single}, `latest_only`: peak/s, python-socketio", PEAK, "single-latest", "socketio")
    rows.beside(f"{single}, `latest_only`: peak/s, Node", PEAK, "single-latest", "node")
    rows.beside(f"{single}: peak/s, bare grpc.aio", PEAK, "single", "bare-single")
    rows.beside("bare grpc.aio: peak/s, bare TCP", PEAK, "bare-single", "raw")
    best = "processor time a delivery at best, µs"  # does not suffer from who else uses the processor
    rows.beside(f"{many}: {best}, Node with a socket each", BEST_CPU, "many", "node")
    rows.beside(f"{many}: {best}, Node with many rooms", BEST_CPU, "many", "node-rooms")
    rows.beside(f"{single}: {best}, python-socketio", BEST_CPU, "single", "socketio")
    rows.beside(f"{single}: {best}, Node", BEST_CPU, "single", "node")
    p99_goal = MANY_P99_MS if watchers == 5_000 else None
    rows.alone(f"**{many}**: p99 at {STEADY_PER_S:,} changes/s, ms", P99, "many", p99_goal, unit=1e-3)
    rows.alone(f"{many}, `latest_only`: p99, ms", P99, "many-latest")
    rows.beside(f"{many}: p50, ms, Node with many rooms", P50, "many", "node-rooms", P50_VS_NODE)
    rows.beside(f"{single}: p50, ms, Node", P50, "single", "node", P50_VS_NODE)
    rows.beside(f"{single}: p99, ms, Node", P99, "single", "node")
    rows.beside(f"{single}, `latest_only`: p99, ms, Node", P99, "single-latest", "node")
    rows.beside(f"**{many}**: memory a watch, KiB, a socket of Node", MEMORY, "many", "node", MANY_MEMORY)
    rows.beside(f"**{single}**: memory, KiB, python-socketio", MEMORY, "single", "socketio", SHARED_MEMORY)
    rows.beside(f"**{single}**: memory, KiB, the same on sansio", MEMORY, "single", "socketio-sansio", SHARED_MEMORY)
    alone = f"{single}, a connection each: memory, KiB"
    rows.beside(f"{alone}, python-socketio", MEMORY, "single-alone", "socketio", ALONE_MEMORY_VS_SOCKETIO)
    rows.beside(f"{alone}, Node", MEMORY, "single-alone", "node", ALONE_MEMORY_VS_NODE)
    rows.beside(f"**{single}**: to open one, µs, python-socketio", OPEN, "single", "socketio", OPEN_VS_SOCKETIO)
    rows.beside(
        f"**{single}**: to open one, µs, the same on sansio", OPEN, "single", "socketio-sansio", OPEN_VS_SOCKETIO
    )
    rows.beside(f"**{single}**: to open one, µs, Node", OPEN, "single", "node", OPEN_VS_NODE)
    rows.alone(f"{many}: to open one, µs", OPEN, "many")
    notes = ["To open one: the server's processor time. Peers stand in the third column, in the order of the words."]
    broken = {name: cell.broken for one in rounds for name, cell in one.items() if cell.broken}
    notes += [
        f"{name}: the server ended {count} watches when it was asked for too much." for name, count in broken.items()
    ]
    return Figures(
        title=f"{watchers:,} watchers",
        columns=COLUMNS,
        rows=rows.rows,
        notes=tuple(notes),
        is_for_summary=watchers == SUMMARISED,
    )

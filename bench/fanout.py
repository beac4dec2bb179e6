"""How many deliveries a processor makes, how late, and what a watch takes: ours beside socket servers and limits.

Changes that are committed already are handed to the feed, and light clients take the time from then to their receipt.
The server has one processor, its clients the other. A payment has one, two or three watchers, two in the mean; peers
do the same with rooms and as many bytes. A peak is the most deliveries a second at any rate of changes, however late.

`python -m bench.fanout many node --watchers 5000` measures single cells and prints all there is to say, as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import uvloop

from bench.database import Postgres, running_postgres, store_payments
from bench.fanout_cell import Cell, measured
from bench.fanout_tables import Round, tables
from bench.figures import Result
from bench.pinned import as_client, python, serving
from bench.status import Callers
from bench.subjects import CONNECTIONS, SUBJECTS, Subject, environment_of, is_here
from local.databases import ServiceDatabase
from local.ports import free_ports

loop_factory = uvloop.new_event_loop
COMPARED: Final = ("many", "node-rooms", "single", "node", "socketio")
"""What goals are about; the peers stand beside what they are compared with."""
LATEST: Final = ("many-latest", "single-latest")
LIMITS: Final = ("bare-many", "bare-single", "raw")
EVERYTHING: Final = (*COMPARED, "socketio-sansio", *LATEST, "single-alone", *LIMITS)
PLAN: Final = (
    (5_000, EVERYTHING),
    (1_000, (*COMPARED, *LATEST)),
    (5_000, COMPARED[::-1]),
    (10_000, (*COMPARED, *LATEST)),
    (5_000, COMPARED),
)
"""Rounds: how many watch, and at whom."""
FULL_PLAN: Final = tuple(
    (watchers, order) for order in (EVERYTHING, EVERYTHING[::-1], EVERYTHING) for watchers in (1_000, 5_000, 10_000)
)
CHANGES_MAX: Final = 450_000
"""Committed beforehand for each number of watchers; every payment has its share."""
SIZES: Final = (1_000, 5_000, 10_000)

Say = Callable[[str], None]


class Bench:
    """The database that ours runs on, and callers."""

    def __init__(self, postgres: Postgres, database: ServiceDatabase) -> None:
        self._directory = postgres.directory
        self._database = database
        self._callers = Callers(postgres.directory)
        # As many processes, each with a name of its own: a caller may have only so many streams.
        self._headers = [self._callers.headers(f"bff-{number}") for number in range(CONNECTIONS)]

    async def cell(self, subject: Subject, watchers: int, *, say: Say = lambda _: None) -> Cell:
        """Measure one subject with so many watchers, in a server of its own."""
        port = next(iter(free_ports().values()))
        if subject.command is None:
            command: Sequence[str] = python("bench.servers.ours", self._directory / "status.log")
            environment = self._callers.environment(self._database, port=port)
        else:
            command, environment = subject.command(port), dict(environment_of(subject))
        say(f"{watchers:,} watchers: {subject.name} opens")
        async with serving(command, environment=environment) as served:
            return await measured(
                subject,
                served,
                port=port,
                watchers=watchers,
                headers=lambda number: self._headers[number],
                changes_max=CHANGES_MAX if subject.command is None else None,
                say=say,
            )


async def measure(say: Say, *, full: bool = False) -> Result:
    """Run the bench, in about eight minutes, or in full in about forty."""
    plan = FULL_PLAN if full else PLAN
    rounds: list[Round] = []
    say("committing what will be published")
    async with prepared({watchers for watchers, _ in plan}) as bench:
        for number, (watchers, names) in enumerate(plan):
            with as_client():
                cells = {
                    name: await bench.cell(
                        SUBJECTS[name],
                        watchers,
                        say=partial(_say_of, say, f"{number + 1}/{len(plan)}"),
                    )
                    for name in names
                    if is_here(SUBJECTS[name])
                }
            rounds.append(Round(watchers=watchers, cells=cells))
    return Result(
        title="From the feed to light clients",
        tables=tables(rounds),
        rounds=[cell.to_json() for one in rounds for cell in one.cells.values()],
    )


@asynccontextmanager
async def prepared(sizes: Iterable[int]) -> AsyncIterator[Bench]:
    """Run a database with what is committed for runs of so many watchers."""
    async with running_postgres("max_wal_size = '4GB'") as postgres:
        database = await postgres.status_database()
        first = 0
        for watchers in sorted(sizes):
            payments = watchers // 2 + 1
            await store_payments(
                database, first=first, beyond=payments, revisions=CHANGES_MAX // payments + 2, stands_at=1
            )
            first = payments
        yield Bench(postgres, database)


def _say_of(say: Say, place: str, what: str) -> None:
    say(f"{place} {what}")


async def _cells(names: list[str], watchers: int, times: int) -> None:
    async with prepared({watchers}) as bench:
        for name in names * times:
            with as_client():
                cell = await bench.cell(SUBJECTS[name], watchers, say=lambda what: print(what, file=sys.stderr))
            print(json.dumps(cell.to_json()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.fanout", description="Measure single cells.")
    parser.add_argument("subjects", nargs="+", choices=SUBJECTS)
    parser.add_argument("--watchers", type=int, default=SIZES[0], choices=SIZES)
    parser.add_argument("--times", type=int, default=1, help="take as many turns")
    given = parser.parse_args()
    uvloop.run(_cells(given.subjects, given.watchers, given.times))

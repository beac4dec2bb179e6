"""How many deliveries a processor makes, how late, and what a watch takes: ours beside socket servers and limits."""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import uvloop

from bench.database import Postgres, running_postgres, store_payments
from bench.fanout_cell import Cell, measured
from bench.pinned import as_client, python, serving
from bench.status import Callers
from bench.subjects import SUBJECTS, Subject, environment_of
from local.databases import ServiceDatabase
from local.ports import free_ports

CHANGES_MAX: Final = {1_000: 450_000, 5_000: 450_000, 10_000: 450_000}
"""How many changes are committed beforehand for so many watchers; each payment has its share of them."""

Say = Callable[[str], None]


class Bench:
    """The database that ours runs on, and callers."""

    def __init__(self, postgres: Postgres, database: ServiceDatabase) -> None:
        self._directory = postgres.directory
        self._database = database
        self._callers = Callers(postgres.directory)
        self._headers = [self._callers.headers(f"bff-{number}") for number in range(20)]

    async def cell(self, subject: Subject, watchers: int, *, say: Say = lambda _: None) -> Cell:
        """Measure one subject with so many watchers, in a server of its own."""
        port = next(iter(free_ports().values()))
        if subject.command is None:
            command = python("bench.servers.ours", self._directory / "status.log")
            environment = self._callers.environment(self._database, port=port)
        else:
            command, environment = list(subject.command(port)), dict(environment_of(subject))
        async with serving(command, environment=environment) as served:
            return await measured(
                subject,
                served,
                port=port,
                watchers=watchers,
                headers=lambda number: self._headers[number],
                changes_max=CHANGES_MAX[watchers] if subject.command is None else None,
                say=say,
            )


@asynccontextmanager
async def prepared(*sizes: int) -> AsyncIterator[Bench]:
    """Run a database with what is committed for runs of so many watchers."""
    async with running_postgres("max_wal_size = '4GB'") as postgres:
        database = await postgres.status_database()
        first = 0
        for watchers in sorted(sizes):
            payments = watchers // 2 + 1
            await store_payments(
                database, first=first, beyond=payments, revisions=CHANGES_MAX[watchers] // payments + 2, stands_at=1
            )
            first = payments
        yield Bench(postgres, database)


async def _one(names: list[str], watchers: int) -> None:
    async with prepared(watchers) as bench:
        for name in names:
            with as_client():
                cell = await bench.cell(SUBJECTS[name], watchers)
            print(json.dumps(cell.to_json()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.fanout", description="Measure single cells.")
    parser.add_argument("subjects", nargs="+", choices=SUBJECTS)
    parser.add_argument("--watchers", type=int, default=1_000, choices=CHANGES_MAX)
    given = parser.parse_args()
    uvloop.run(_one(given.subjects, given.watchers))

"""What a payment takes besides time, counted: calls, statements, commits, WAL, webhooks, lines.

Statements are those that the database server says it carried out, on a server told to say so for as long as it is
counted; what comes by the clock is counted while nothing is asked, and taken off.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.arms import Arm, payers_of
from bench.database import executed
from bench.shop import Payer

COUNTED: Final = 48
STATISTICS_S: Final = 12.0
"""PostgreSQL's own counts are up to 10 s late where a connection rests."""
_MARK: Final = "@@"
_RECORD: Final = re.compile(rf"^{_MARK}", re.MULTILINE)
_STATEMENT: Final = re.compile(r"(?P<database>[^@]*)@LOG:  (?:execute [^:]*|statement): (?P<sql>.*)", re.DOTALL)
_AROUND: Final = ("BEGIN", "COMMIT", "ROLLBACK", "START", "SAVEPOINT", "RELEASE")
"""Begin a statement that only bounds others."""
_TOTALS: Final = """
SELECT (SELECT sum(xact_commit) FROM pg_stat_database WHERE datname NOT IN ('postgres', 'template0', 'template1')),
       pg_current_wal_insert_lsn() - '0/0'::pg_lsn
"""


@dataclass(slots=True)
class Tally:
    """What happened so far, or between two looks."""

    at: float = 0.0
    commits: float = 0.0
    wal_bytes: float = 0.0
    statements: Counter[str] = field(default_factory=Counter)
    """By database and text."""
    rpcs: Counter[str] = field(default_factory=Counter)
    stripe_calls: Counter[str] = field(default_factory=Counter)
    webhooks: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    """By process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one payment of an arm takes."""

    rpcs: float
    statements: float
    commits: float
    wal_bytes: float
    stripe_calls: float
    webhooks: float
    lines: float
    each: dict[str, dict[str, float]]
    """Of each kind: which, and how often."""


class _Counting:
    """Looks at an arm whose database server tells its statements."""

    def __init__(self, arm: Arm, connection: asyncpg.Connection) -> None:
        self._arm = arm
        self._connection = connection
        self._deliveries = 0
        self._read: dict[Path, int] = {
            path: path.stat().st_size for path in (arm.postgres.server.log_file, *arm.logs.values())
        }

    async def tally(self) -> Tally:
        """Return what happened since the look before; commits and WAL so far."""
        arm = self._arm
        commits, wal_bytes = await self._connection.fetchrow(_TOTALS)
        tally = Tally(at=time.perf_counter(), commits=float(commits), wal_bytes=float(wal_bytes))
        for record in _RECORD.split(self._news_of(arm.postgres.server.log_file)):
            found = _STATEMENT.match(record)
            if found is not None and found["database"] != "postgres":
                text = " ".join(found["sql"].split())
                if not text.startswith(_AROUND):
                    tally.statements[f"{found['database'].rpartition('_')[2]}: {text}"] += 1
        for name, path in arm.logs.items():
            for line in self._news_of(path).splitlines():
                tally.lines[name] += 1
                method = str(json.loads(line).get("method", "")) if line.startswith("{") else ""
                if method.startswith("/"):
                    tally.rpcs[method.removeprefix("/")] += 1
        tally.stripe_calls.update({route: int(one["count"]) for route, one in (await arm.sandbox.metrics()).items()})
        await arm.sandbox.clear_metrics()
        deliveries = await arm.sandbox.deliveries()
        tally.webhooks.update(str(one["type"]) for one in deliveries[self._deliveries :])
        self._deliveries = len(deliveries)
        return tally

    def _news_of(self, path: Path) -> str:
        with path.open("rb") as file:
            file.seek(self._read[path])
            news = file.read()
        self._read[path] += len(news)
        return news.decode(errors="replace")


async def counted(arms: Sequence[Arm], known: dict[str, list[Payer]]) -> dict[str, Taken]:
    """Let all arms take payments at once, and return what one took of each. Call it before much else is measured:
    the stand-in remembers the last 10,000 deliveries."""
    return dict(
        zip(
            (arm.name for arm in arms),
            await asyncio.gather(*(_count(arm, known[arm.name]) for arm in arms)),
            strict=True,
        )
    )


async def _count(arm: Arm, known: Sequence[Payer]) -> Taken:
    url = arm.postgres.server.admin_url
    await executed(
        url,
        "ALTER SYSTEM SET log_statement = 'all'",
        f"ALTER SYSTEM SET log_line_prefix = '{_MARK}%d@'",
        "SELECT pg_reload_conf()",
    )
    connection = await asyncpg.connect(url)
    try:
        await asyncio.sleep(STATISTICS_S)  # or what came before would be taken for idle
        counting = _Counting(arm, connection)
        began = await counting.tally()
        await asyncio.sleep(STATISTICS_S)
        idle = await counting.tally()
        await arm.pay(payers_of(arm.till, known, COUNTED))
        await asyncio.sleep(STATISTICS_S)
        busy = await counting.tally()
    finally:
        await connection.close()
        await executed(
            url, "ALTER SYSTEM RESET log_statement", "ALTER SYSTEM RESET log_line_prefix", "SELECT pg_reload_conf()"
        )
    share = (busy.at - idle.at) / (idle.at - began.at)
    each = {
        name: _per_payment(getattr(busy, name), getattr(idle, name), share=share)
        for name in ("rpcs", "statements", "stripe_calls", "webhooks", "lines")
    }
    totals: dict[str, Any] = {name: sum(ones.values()) for name, ones in each.items()}
    return Taken(
        commits=((busy.commits - idle.commits) - (idle.commits - began.commits) * share) / COUNTED,
        wal_bytes=((busy.wal_bytes - idle.wal_bytes) - (idle.wal_bytes - began.wal_bytes) * share) / COUNTED,
        each=each,
        **totals,
    )


def _per_payment(busy: Counter[str], idle: Counter[str], *, share: float) -> dict[str, float]:
    each = {name: (busy[name] - idle[name] * share) / COUNTED for name in busy.keys() | idle.keys()}
    return dict(sorted(each.items(), key=lambda one: -one[1]))

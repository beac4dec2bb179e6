"""Due work says what waits, since when, and what became of what was begun."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from local.databases import ServiceDatabase
from services.errors import DependencyUnavailable
from services.runtime.database.connections import DirectConnections
from services.runtime.observability import work_metrics
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock
from services.runtime.work import sampling as sampling_module
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import RetryLater, Work
from services.runtime.work.sampling import sampling, waiting_work
from tests.eventually import eventually
from tests.metrics import Figures
from tests.runtime.test_work import admin, database, errands, migrations

__all__ = ["admin", "database", "migrations"]

KIND = "errands"


async def figures(meter: Meter) -> Figures:
    return Figures.read(await meter.text())


async def test_each_run_is_counted_by_what_became_of_it(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    async def handle(work: Work) -> None:
        match work.key[0]:
            case "later":
                raise RetryLater(timedelta(hours=1))
            case "away":
                raise DependencyUnavailable(dependency="database")
            case "fails":
                raise ValueError("a bug")

    meter = Meter()
    async with DirectConnections(database.runtime_url, application_name="test", size=2) as held:
        engine = Engine(database.runtime_url, held, clock=Clock(), application_name="test", meter=meter)
        engine.register(errands(handle))
        for name in ("done", "later", "away", "fails"):
            await admin.execute("INSERT INTO errands (tenant_id, name, due_time) VALUES ('main', $1, now())", name)
        await engine.once()
        now = await figures(meter)
        outcomes = {
            outcome: now.of("batzen_work_runs_total", kind=KIND, outcome=outcome) for outcome in work_metrics.Outcome
        }
        assert outcomes == {"done": 1, "later": 1, "away": 1, "failed": 1, "dead": 0}
        await admin.execute("UPDATE errands SET failures = 2, due_time = now() WHERE name = 'fails'")
        await admin.execute("UPDATE errands SET due_time = NULL WHERE name <> 'fails'")
        await engine.once()
        assert (await figures(meter)).of("batzen_work_runs_total", kind=KIND, outcome="dead") == 1


@pytest.mark.parametrize("tenants", [None, ["main"]])
async def test_what_waits_and_what_was_given_up_is_shown(
    tenants: list[str] | None, database: ServiceDatabase, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: Work) -> None:
        raise AssertionError

    monkeypatch.setattr(sampling_module, "COUNTED_MAX", 3)
    await admin.execute(
        """INSERT INTO errands (tenant_id, name, due_time, held_until, dead_time)
           SELECT tenant, 'due ' || n, now() - interval '1 minute', '-infinity'::timestamptz, NULL::timestamptz
               FROM unnest(ARRAY['main', 'other']) tenant, generate_series(1, 2) n
           UNION ALL SELECT 'main', 'held', now() - interval '1 hour', now() + interval '1 hour', NULL
           UNION ALL SELECT 'main', 'later', now() + interval '1 hour', '-infinity', NULL
           UNION ALL SELECT 'main', 'nothing', NULL, '-infinity', NULL
           UNION ALL SELECT 'main', 'dead ' || n, NULL, '-infinity', now() FROM generate_series(1, 5) n"""
    )
    meter = Meter()
    async with DirectConnections(database.runtime_url, application_name="test", size=1) as held:
        look = waiting_work(held, [errands(never)], clock=Clock(), meter=meter, tenants=tenants)
        await look()
    now = await figures(meter)
    assert now.of("batzen_work_due", kind=KIND) == (4 if tenants is None else 2)
    assert 60 <= now.of("batzen_work_oldest_due_seconds", kind=KIND) < 600
    assert now.of("batzen_dead_letters", kind=KIND) == 3  # no more are counted


async def test_looks_are_taken_again_and_again_and_say_when() -> None:
    looked = 0

    async def look() -> None:
        nonlocal looked
        looked += 1
        if looked == 1:
            raise DependencyUnavailable(dependency="database")

    meter = Meter()
    async with sampling(meter, look, every_s=0.001):
        await eventually(lambda: looked >= 2)
    assert (await figures(meter))["batzen_sample_timestamp_seconds"] > 0


async def test_nothing_is_looked_up_where_nobody_asks() -> None:
    async def never() -> None:
        raise AssertionError

    async with sampling(OFF, never, every_s=0.001):
        pass

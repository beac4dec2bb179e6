"""Jobs: committed or not there, run again after every kind of failure, and never lost by a stop."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from pgqueuer.adapters.persistence.queries import Queries
from sqlalchemy.ext.asyncio import AsyncEngine

from local.databases import ServiceDatabase, create_service_database
from local.postgres import EmbeddedPostgres
from services.runtime import calls, worker
from services.runtime.database import make_engine, plain_dsn, role_of, transaction
from services.runtime.jobs import (
    PAYLOAD_BYTES_MAX,
    Backoff,
    DeadJob,
    Job,
    JobClass,
    JobKind,
    JobQueue,
    QueueDepth,
    RetryLater,
    RetryPolicy,
    dead_jobs,
    queue_depth,
    replay,
    settings_of,
)
from services.runtime.migrations import migrate
from services.runtime.worker import LIMITS, Handler, Worker, running_worker
from tests.conftest import Databases

REPOSITORY = Path(__file__).parents[2]
SCHEMA = REPOSITORY / "services" / "runtime" / "jobs_schema.sql"
PATIENCE_S = 30
"""For what should happen soon on a busy machine."""

FAST = RetryPolicy(tries_max=3, first_delay=timedelta(milliseconds=1))
CAPTURE = JobKind(name="test.capture", job_class=JobClass.MONEY, retry=FAST)
APPLY = JobKind(name="test.apply", job_class=JobClass.EVENTS, retry=FAST)

RUN_FOR_EVER = """
import asyncio, sys
from datetime import timedelta
from services.runtime.jobs import JobClass, JobKind, RetryPolicy
from services.runtime.worker import running_worker

async def capture(job):
    print("started", flush=True)
    await asyncio.Event().wait()

async def main():
    retry = RetryPolicy(tries_max=3, first_delay=timedelta(seconds=1))
    kind = JobKind(name="test.capture", job_class=JobClass.MONEY, retry=retry)
    async with running_worker(sys.argv[1], handlers={kind: capture}, application_name="doomed"):
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="session")
def migrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("jobs") / "migrations"
    directory.mkdir()
    shutil.copy(SCHEMA, directory / "0001_jobs.sql")
    (directory / "0002_effects.sql").write_text("-- expand\nCREATE TABLE effects (name text PRIMARY KEY);\n")
    return directory


@pytest.fixture
async def database(databases: Databases, migrations: Path) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("jobs", migrations=migrations)
    yield database
    await databases.drop(database)


@pytest.fixture
async def engine(database: ServiceDatabase) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database.runtime_url, application_name="test")
    yield engine
    await engine.dispose()


@pytest.fixture
async def queue(engine: AsyncEngine) -> AsyncIterator[JobQueue]:
    async with JobQueue(engine) as queue:
        yield queue


@pytest.fixture
async def admin(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


@asynccontextmanager
async def _working(database: ServiceDatabase, **handlers: Handler) -> AsyncIterator[Worker]:
    kinds = {"capture": CAPTURE, "apply": APPLY}
    by_kind = {kinds[name]: handler for name, handler in handlers.items()}
    async with running_worker(database.runtime_url, handlers=by_kind, application_name="test") as running:
        yield running


class _Runs:
    """A handler that keeps what it was given, does `act`, and lets a test wait for its n-th run."""

    def __init__(self, act: Callable[[Job], Awaitable[None]] | None = None) -> None:
        self.jobs: list[Job] = []
        self._act = act
        self._more = asyncio.Condition()

    async def __call__(self, job: Job) -> None:
        async with self._more:
            self.jobs.append(job)
            self._more.notify_all()
        if self._act is not None:
            await self._act(job)

    async def wait_for(self, number: int) -> Job:
        async with asyncio.timeout(PATIENCE_S), self._more:
            await self._more.wait_for(lambda: len(self.jobs) >= number)
        return self.jobs[number - 1]


async def _fail(job: Job) -> None:
    raise ValueError(f"attempt {job.attempt}")


async def _never_end(_: Job) -> None:
    await asyncio.Event().wait()


async def _enqueue(
    engine: AsyncEngine, queue: JobQueue, *numbers: int, kind: JobKind = CAPTURE, **options: object
) -> None:
    async with transaction(engine, "test.enqueue") as connection:
        for number in numbers:
            await queue.enqueue(connection, kind, {"number": number}, tenant_id="main", **options)  # type: ignore[arg-type]


async def _until(engine: AsyncEngine, condition: Callable[[QueueDepth], bool]) -> QueueDepth:
    """Ask for the queue's depth until it is as wanted: what a person at a prompt would do."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition(depth := await queue_depth(engine)):
            pass
    return depth


async def _dead(engine: AsyncEngine) -> DeadJob:
    await _until(engine, lambda depth: depth.dead == 1)
    (dead,) = await dead_jobs(engine, tenant_id="main")
    return dead


async def test_job_runs_with_what_it_was_given(engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase) -> None:
    seen = []

    async def note(_: Job) -> None:
        seen.append((calls.current_tenant(), calls.correlation_id()))

    runs = _Runs(note)
    async with _working(database, capture=runs):
        with calls.acting_for("tenant-7", correlation="c-1"):
            async with transaction(engine, "test.enqueue") as connection:
                await queue.enqueue(connection, CAPTURE, {"payment_id": "pay_1"}, tenant_id="tenant-7")
        job = await runs.wait_for(1)

        assert (job.tenant_id, job.payload, job.attempt) == ("tenant-7", {"payment_id": "pay_1"}, 1)
        assert seen == [("tenant-7", "c-1")]
        await _until(engine, lambda depth: depth.idle)


async def test_rollback_leaves_no_job_even_if_it_came_first(engine: AsyncEngine, queue: JobQueue) -> None:
    async def store_and_fail() -> None:
        async with transaction(engine, "test.enqueue") as connection:
            await queue.enqueue(connection, CAPTURE, {}, tenant_id="main")  # the first statement of the transaction
            await connection.execute(sa.text("INSERT INTO effects VALUES ('stored')"))
            raise RuntimeError("the block failed")

    with pytest.raises(RuntimeError, match="the block failed"):
        await store_and_fail()

    assert await queue_depth(engine) == QueueDepth(due=0, later=0, running=0, dead=0)


async def test_enqueueing_outside_of_a_transaction_is_refused(engine: AsyncEngine, queue: JobQueue) -> None:
    async with engine.connect() as connection:
        with pytest.raises(RuntimeError, match=r"inside of database\.transaction"):
            await queue.enqueue(connection, CAPTURE, {}, tenant_id="main")

    assert (await queue_depth(engine)).idle


async def test_payload_that_is_data_and_not_a_name_is_refused(engine: AsyncEngine, queue: JobQueue) -> None:
    async with transaction(engine, "test.enqueue") as connection:
        with pytest.raises(ValueError, match="more than 8192 bytes"):
            await queue.enqueue(connection, CAPTURE, {"raw": "x" * PAYLOAD_BYTES_MAX}, tenant_id="main")


async def test_committed_job_wakes_the_worker_at_once(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLL_INTERVAL", timedelta(hours=1))  # so that only the wake-up can do it
    runs = _Runs()
    async with _working(database, capture=runs):
        for number in range(1, 4):
            await _enqueue(engine, queue, number)
            assert (await runs.wait_for(number)).payload == {"number": number}


async def test_job_whose_wake_up_is_lost_runs_all_the_same(engine: AsyncEngine, database: ServiceDatabase) -> None:
    async with JobQueue(make_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none", application_name="test")) as mute:
        runs = _Runs()
        async with _working(database, capture=runs):
            await _enqueue(engine, mute, 1)
            await runs.wait_for(1)


async def test_wake_ups_of_one_tick_become_one(queue: JobQueue, admin: asyncpg.Connection) -> None:
    heard: list[object] = []

    def hear(*notification: object) -> None:
        heard.append(notification[2])

    for job_class in JobClass:
        await admin.add_listener(f"batzen_jobs_{job_class}", hear)

    for _ in range(50):
        queue.wake(JobClass.MONEY)
    queue.wake(JobClass.EVENTS)
    async with queue:
        pass
    await admin.execute("SELECT 1")

    assert sorted(map(str, heard)) == ["batzen_jobs_events", "batzen_jobs_money"]


async def test_enqueueing_notifies_nobody_by_itself(admin: asyncpg.Connection) -> None:
    triggers = await admin.fetch("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")

    assert {row["tgname"] for row in triggers} == {"jobs_count_crash", "jobs_skip_log"}


async def test_job_waits_for_its_time(engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase) -> None:
    runs = _Runs()
    async with _working(database, capture=runs):
        await _enqueue(engine, queue, 1, run_after=timedelta(hours=1))
        await _enqueue(engine, queue, 2, run_after=timedelta(milliseconds=300))

        assert (await runs.wait_for(1)).payload == {"number": 2}
        await _until(engine, lambda depth: depth == QueueDepth(due=0, later=1, running=0, dead=0))


async def test_failing_job_is_tried_as_often_as_its_policy_says_and_then_dead(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase
) -> None:
    runs = _Runs(_fail)
    async with _working(database, capture=runs):
        with calls.acting_for("main", correlation="c-2"):
            await _enqueue(engine, queue, 7)
        dead = await _dead(engine)

    assert [job.attempt for job in runs.jobs] == [1, 2, 3]
    assert (dead.kind, dead.payload, dead.tries) == ("test.capture", {"number": 7}, 3)
    assert (dead.correlation_id, dead.error) == ("c-2", "ValueError: attempt 3")


async def test_dead_job_is_replayed_with_its_tries_counted_anew(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase
) -> None:
    async def fail_three_times(job: Job) -> None:
        if len(runs.jobs) <= 3:
            await _fail(job)

    runs = _Runs(fail_three_times)
    async with _working(database, capture=runs):
        await _enqueue(engine, queue, 1)
        dead = await _dead(engine)

        assert await replay(engine, [dead.job_id], tenant_id="another") == []
        assert await replay(engine, [dead.job_id, 999], tenant_id="main") == [dead.job_id]
        queue.wake(JobClass.MONEY)

        assert (await runs.wait_for(4)).attempt == 1
        assert await _until(engine, lambda depth: depth.idle) == QueueDepth(due=0, later=0, running=0, dead=0)
        assert await replay(engine, [dead.job_id], tenant_id="main") == []


async def test_dead_jobs_of_another_tenant_are_not_shown(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase
) -> None:
    async with _working(database, capture=_Runs(_fail)):
        await _enqueue(engine, queue, 1)
        await _dead(engine)

    assert await dead_jobs(engine, tenant_id="another") == []


async def test_asking_to_run_later_is_no_failure(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase
) -> None:
    async def later(_: Job) -> None:
        if len(runs.jobs) < 6:
            raise RetryLater(timedelta(milliseconds=1))

    runs = _Runs(later)
    async with _working(database, capture=runs):
        await _enqueue(engine, queue, 1)
        await runs.wait_for(6)
        await _until(engine, lambda depth: depth.idle)

    assert {job.attempt for job in runs.jobs} == {1}


async def test_same_key_is_enqueued_once_until_it_is_done(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase
) -> None:
    async def add(tenant_id: str, kind: JobKind = CAPTURE) -> bool:
        async with transaction(engine, "test.enqueue") as connection:
            return await queue.enqueue(connection, kind, {}, tenant_id=tenant_id, dedupe_key="pay_1")

    assert [await add("main"), await add("main"), await add("other"), await add("main", APPLY)] == [
        True,
        False,
        True,
        True,
    ]
    async with _working(database, capture=_Runs(), apply=_Runs()):
        await _until(engine, lambda depth: depth.idle)

    assert await add("main")


async def test_flood_of_events_does_not_hold_up_money(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase
) -> None:
    async def wait(_: Job) -> None:
        await released.wait()

    released = asyncio.Event()
    events, money = _Runs(wait), _Runs()
    async with _working(database, apply=events, capture=money):
        await _enqueue(engine, queue, *range(100), kind=APPLY)
        await events.wait_for(LIMITS[JobClass.EVENTS])

        await _enqueue(engine, queue, 1, kind=CAPTURE)

        await money.wait_for(1)
        assert len(events.jobs) == LIMITS[JobClass.EVENTS]
        released.set()
        await _until(engine, lambda depth: depth.idle)
    assert len(events.jobs) == 100


async def test_two_workers_run_each_job_once(engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase) -> None:
    one, two = _Runs(), _Runs()
    async with _working(database, capture=one), _working(database, capture=two):
        await _enqueue(engine, queue, *range(200))
        await _until(engine, lambda depth: depth.idle)

    assert sorted(job.payload["number"] for job in one.jobs + two.jobs) == list(range(200))


async def test_job_of_a_killed_worker_runs_again_within_ten_seconds(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase
) -> None:
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN_FOR_EVER, database.runtime_url, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert doomed.stdout is not None
    await _enqueue(engine, queue, 1)
    assert await doomed.stdout.readline() == b"started\n"

    doomed.kill()
    await doomed.wait()
    runs = _Runs()
    async with _working(database, capture=runs):
        async with asyncio.timeout(10):
            job = await runs.wait_for(1)

    assert job.attempt == 1
    assert (await queue_depth(engine)).idle


async def test_job_that_kills_its_workers_is_dead_after_the_fifth(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    await _enqueue(engine, queue, 1)
    await admin.execute(
        "UPDATE pgqueuer SET status = 'picked', crashes = 4, queue_manager_id = gen_random_uuid(), "
        "heartbeat = now() - interval '1 minute'"
    )
    runs = _Runs()
    async with _working(database, capture=runs):
        await _dead(engine)
    dead = await _dead(engine)  # with the reason, which the worker has written by its end

    assert runs.jobs == []
    assert dead.error.startswith("WorkerDied: Workers died while they ran this job")
    assert await replay(engine, [dead.job_id], tenant_id="main") == [dead.job_id]
    async with _working(database, capture=runs):
        await runs.wait_for(1)


async def test_each_worker_that_died_is_counted(
    engine: AsyncEngine, queue: JobQueue, admin: asyncpg.Connection
) -> None:
    await _enqueue(engine, queue, 1)
    pick = "UPDATE pgqueuer SET status = 'picked', queue_manager_id = gen_random_uuid() RETURNING crashes, status::text"

    crashes = [tuple(await admin.fetchrow(pick)) for _ in range(6)]

    assert crashes == [(0, "picked"), (1, "picked"), (2, "picked"), (3, "picked"), (4, "picked"), (5, "failed")]


async def test_stopping_lets_a_job_end(engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase) -> None:
    async def wait(_: Job) -> None:
        await released.wait()

    released = asyncio.Event()
    runs = _Runs(wait)
    running = Worker(database.runtime_url, handlers={CAPTURE: runs}, application_name="test")
    task = asyncio.create_task(running.run())
    await _enqueue(engine, queue, 1)
    await runs.wait_for(1)

    draining = asyncio.create_task(running.drain(grace_s=PATIENCE_S))
    await _enqueue(engine, queue, 2)
    released.set()
    await draining
    await task

    assert len(runs.jobs) == 1
    assert await queue_depth(engine) == QueueDepth(due=1, later=0, running=0, dead=0)


async def test_job_that_does_not_end_in_time_is_given_back_and_not_lost(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase
) -> None:
    endless, runs = _Runs(_never_end), _Runs()
    by_kind = {CAPTURE: endless}
    async with running_worker(database.runtime_url, handlers=by_kind, application_name="test", grace_s=0):
        await _enqueue(engine, queue, 1)
        await endless.wait_for(1)

    assert await queue_depth(engine) == QueueDepth(due=1, later=0, running=0, dead=0)
    async with _working(database, capture=runs):
        assert (await runs.wait_for(1)).attempt == 1


async def test_broken_connections_cost_no_job(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase, postgres: EmbeddedPostgres
) -> None:
    released = asyncio.Event()

    async def wait(_: Job) -> None:
        await released.wait()

    runs = _Runs(wait)
    admin = await asyncpg.connect(postgres.admin_url)
    async with _working(database, capture=runs):
        await _enqueue(engine, queue, 1)
        await runs.wait_for(1)
        ended = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = $1"
        assert await admin.fetchval(ended, database.name) > 0
        released.set()  # it ends while the worker has no connection

        await _enqueue(engine, queue, 2)
        await runs.wait_for(2)
        await _until(engine, lambda depth: depth.idle)
    await admin.close()


async def test_worker_outlives_a_restart_of_the_database(
    own_postgres: EmbeddedPostgres, migrations: Path, tmp_path: Path
) -> None:
    database = await create_service_database(own_postgres.admin_url, "jobs", passwords=tmp_path / "passwords.json")
    await migrate(database.owner_url, migrations, runtime_role=role_of(database.runtime_url))
    engine = make_engine(database.runtime_url, application_name="test")
    runs = _Runs()
    async with JobQueue(engine) as queue, _working(database, capture=runs):
        await _enqueue(engine, queue, 1)
        await runs.wait_for(1)
        await _until(engine, lambda depth: depth.idle)

        await asyncio.to_thread(own_postgres.stop)
        await asyncio.to_thread(own_postgres.start)

        await _enqueue(engine, queue, 2)
        assert (await runs.wait_for(2)).payload == {"number": 2}
        await _until(engine, lambda depth: depth.idle)
    await engine.dispose()


async def test_worker_starts_before_its_database_and_stops_without_it() -> None:
    nowhere = "postgresql+asyncpg://nobody:none@127.0.0.1:1/none"

    async with running_worker(nowhere, handlers={CAPTURE: _Runs()}, application_name="test", grace_s=0):
        await asyncio.sleep(0)


async def test_log_keeps_what_went_wrong_and_nothing_else(
    engine: AsyncEngine, queue: JobQueue, database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    async with _working(database, capture=_Runs(_fail), apply=_Runs()):
        await _enqueue(engine, queue, *range(20), kind=APPLY)
        await _enqueue(engine, queue, 1)
        await _dead(engine)
        await _until(engine, lambda depth: depth.idle)

    rows = await admin.fetch("SELECT entrypoint, status::text FROM pgqueuer_log ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("test.capture", "queued"),
        ("test.capture", "queued"),
        ("test.capture", "failed"),
    ]


async def test_old_failures_are_forgotten(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    await admin.execute(
        "INSERT INTO pgqueuer_log (created, job_id, status, priority, entrypoint) "
        "SELECT now() - interval '1 day' * age, 1, 'exception', 0, 'test.capture' FROM unnest(ARRAY[89, 91]) AS age"
    )
    async with _working(database, capture=_Runs()), asyncio.timeout(PATIENCE_S):
        while await admin.fetchval("SELECT count(*) FROM pgqueuer_log") > 1:
            pass


async def test_schema_is_pgqueuers_own_but_for_its_trigger(admin: asyncpg.Connection) -> None:
    queries = Queries(AsyncpgDriver(admin), qbe=QueryBuilderEnvironment(settings_of()))

    plan = await queries.plan_upgrade()

    assert [statement.split("(")[0].split()[:3] for statement in plan.statements] == [
        ["CREATE", "FUNCTION", "fn_pgqueuer_changed"],
        ["CREATE", "TRIGGER", "tg_pgqueuer_changed"],
    ]


async def test_jobs_survive_a_crash_of_the_database(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "SELECT relpersistence::text FROM pg_class WHERE relname LIKE 'pgqueuer%' AND relkind = 'r'"
    )

    assert [row["relpersistence"] for row in rows] == ["p"] * 4


def test_environment_of_the_process_does_not_rename_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = settings_of()
    for name in ("PGQUEUER_PREFIX", "PGQUEUER_SCHEMA", "PGQUEUER_CHANNEL", "FUNCTION", "TRIGGER", "QUEUE_TABLE"):
        monkeypatch.setenv(name, "other")

    assert settings_of() == expected


def test_services_use_the_one_schema() -> None:
    copies = list((REPOSITORY / "services").glob("*/migrations/*_jobs.sql"))

    assert [path for path in copies if path.read_text() != SCHEMA.read_text()] == []


@given(failures=st.integers(1, 10_000), backoff=st.sampled_from(Backoff))
def test_rests_grow_up_to_their_limit(failures: int, backoff: Backoff) -> None:
    policy = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=1), backoff=backoff)

    first, next_one = policy.delay(failures), policy.delay(failures + 1)

    assert first is not None
    assert next_one is not None
    assert timedelta(seconds=1) <= first <= next_one <= policy.delay_max


def test_rests_follow_the_policy() -> None:
    exponential = RetryPolicy(tries_max=4, first_delay=timedelta(seconds=1))
    linear = RetryPolicy(tries_max=3, first_delay=timedelta(seconds=5), backoff=Backoff.LINEAR)

    assert [exponential.delay(n) for n in range(1, 5)] == [*(timedelta(seconds=s) for s in (1, 2, 4)), None]
    assert [linear.delay(n) for n in range(1, 4)] == [timedelta(seconds=5), timedelta(seconds=10), None]

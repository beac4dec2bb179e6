"""A row is held by one at a time, for as long as its holder works on it, and by the next as soon as it is released."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from local.databases import ServiceDatabase
from services.errors import DependencyUnavailable, NotFound, RequestInProgress
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.lease import LeaseLost, Leases, patience
from services.runtime.rpc import call_context
from tests.conftest import Databases
from tests.eventually import WITHIN_S, eventually

SCHEMA = """-- expand
CREATE TABLE jobs (
    tenant_id  text        NOT NULL,
    name       text        NOT NULL,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    fence      bigint      NOT NULL DEFAULT 0,
    words      text[]      NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant_id, name)
);
"""
TAKE = """
UPDATE jobs SET fence = fence + 1, held_until = now() + $3
WHERE tenant_id = $1 AND name = $2 AND held_until <= now() RETURNING tenant_id, name, fence"""
RENEW = """
UPDATE jobs SET held_until = now() + $4 WHERE tenant_id = $1 AND name = $2 AND fence = $3"""
SAVE = """
UPDATE jobs SET words = words || $4::text, fence = fence + 1, held_until = '-infinity'
WHERE tenant_id = $1 AND name = $2 AND fence = $3"""
RELEASE = """
UPDATE jobs SET fence = fence + 1, held_until = '-infinity' WHERE tenant_id = $1 AND name = $2 AND fence = $3"""
KEY = ("main", "one")
LONG = timedelta(hours=1)


@dataclass(frozen=True)
class Job:
    """A row that is held."""

    tenant_id: str
    name: str
    fence: int


class Jobs:
    """The statements on jobs."""

    def __init__(self, held: DirectConnections, *, lease: timedelta = LONG) -> None:
        self._held = held
        self._lease = lease
        self.renewed: asyncio.Queue[bool] = asyncio.Queue()
        self.problems: list[BaseException | None] = []
        self.is_away = False

    async def take(self, tenant_id: str, name: str, /) -> Job | None:
        async with self._held.statement("job.take") as connection:
            row = await connection.fetchrow(TAKE, tenant_id, name, self._lease)
        return Job(*row) if row is not None else None

    async def renew(self, job: Job, /) -> bool:
        async with self._held.statement("job.renew") as connection:
            status = await connection.execute(RENEW, job.tenant_id, job.name, job.fence, self._lease)
        await self.renewed.put(status == "UPDATE 1")
        return bool(status == "UPDATE 1")

    async def save(self, job: Job, word: str) -> None:
        async with self._held.statement("job.save") as connection:
            status = await connection.execute(SAVE, job.tenant_id, job.name, job.fence, word)
        if status != "UPDATE 1":
            raise LeaseLost

    async def release(self, job: Job, error: BaseException | None, /) -> None:
        self.problems.append(error)
        if self.is_away:
            raise DependencyUnavailable(dependency="database")
        async with self._held.statement("job.release") as connection:
            await connection.execute(RELEASE, job.tenant_id, job.name, job.fence)


def leases_of(jobs: Jobs, *, renew_every_s: float = 60.0) -> Leases[Job]:
    return Leases(jobs, key_of=lambda job: (job.tenant_id, job.name), renew_every_s=renew_every_s)


def soon() -> float:
    return asyncio.get_running_loop().time() + WITHIN_S


@pytest.fixture(scope="session")
def jobs_migrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("lease") / "migrations"
    directory.mkdir()
    (directory / "0001_jobs.sql").write_text(SCHEMA)
    return directory


@pytest.fixture
async def database(databases: Databases, jobs_migrations: Path) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("lease", migrations=jobs_migrations)
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    await connection.execute("INSERT INTO jobs (tenant_id, name) VALUES ('main', 'one')")
    await connection.close()
    yield database
    await databases.drop(database)


@pytest.fixture
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


@pytest.fixture
async def jobs(database: ServiceDatabase) -> AsyncIterator[Jobs]:
    async with DirectConnections(database.runtime_url, application_name="test", size=4) as held:
        yield Jobs(held)


async def words(owner: asyncpg.Connection) -> list[str]:
    found: list[str] = await owner.fetchval("SELECT words FROM jobs")
    return found


async def test_those_who_wait_get_the_row_one_after_the_other(jobs: Jobs, owner: asyncpg.Connection) -> None:
    leases = leases_of(jobs)

    async def work(word: str) -> None:
        job = await leases.acquire(KEY, until=soon())
        async with leases.holding(job):
            await jobs.save(job, word)

    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(*(work(word) for word in "abcd"))
    assert sorted(await words(owner)) == ["a", "b", "c", "d"]


async def test_who_waits_gives_up_when_its_time_is_up(jobs: Jobs) -> None:
    leases = leases_of(jobs)
    await leases.acquire(KEY, until=soon())
    with pytest.raises(RequestInProgress):
        await leases.acquire(KEY, until=asyncio.get_running_loop().time())


async def test_nobody_waits_for_a_row_that_there_is_not(jobs: Jobs) -> None:
    async def check() -> None:
        raise NotFound

    with pytest.raises(NotFound):
        await leases_of(jobs).acquire(("main", "none"), until=soon(), check=check)


async def test_a_row_is_released_after_an_error_and_saved_by_the_next(jobs: Jobs, owner: asyncpg.Connection) -> None:
    leases = leases_of(jobs)
    error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        async with leases.holding(await leases.acquire(KEY, until=soon())):
            raise error
    assert jobs.problems == [error]
    job = await leases.acquire(KEY, until=asyncio.get_running_loop().time())
    await jobs.save(job, "next")
    assert await words(owner) == ["next"]


async def test_a_row_is_released_when_its_holder_is_cancelled(jobs: Jobs) -> None:
    leases = leases_of(jobs)
    job = await leases.acquire(KEY, until=soon())
    is_held = asyncio.Event()

    async def work() -> None:
        async with leases.holding(job):
            is_held.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await is_held.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert await jobs.take(*KEY) is not None


async def test_an_error_stays_the_error_when_the_release_fails(jobs: Jobs) -> None:
    leases = leases_of(jobs)
    jobs.is_away = True
    with pytest.raises(ValueError, match="a bug"):
        async with leases.holding(await leases.acquire(KEY, until=soon())):
            raise ValueError("a bug")


async def test_a_holder_whose_lease_ended_writes_nothing_and_releases_nothing(
    database: ServiceDatabase, owner: asyncpg.Connection
) -> None:
    async with DirectConnections(database.runtime_url, application_name="test", size=2) as held:
        jobs = Jobs(held)
        leases = leases_of(jobs)
        late = await leases.acquire(KEY, until=soon())
        await owner.execute("UPDATE jobs SET held_until = '-infinity'")  # its lease ran out
        successor = await jobs.take(*KEY)
        assert successor is not None
        with pytest.raises(LeaseLost):
            async with leases.holding(late):
                await jobs.save(late, "late")
        assert jobs.problems == []
        await jobs.save(successor, "successor")
    assert await words(owner) == ["successor"]


async def test_a_lease_is_renewed_while_its_holder_works_and_not_after(jobs: Jobs, owner: asyncpg.Connection) -> None:
    leases = leases_of(jobs, renew_every_s=0.01)
    job = await leases.acquire(KEY, until=soon())
    async with leases.holding(job), asyncio.timeout(WITHIN_S):
        await owner.execute("UPDATE jobs SET held_until = now() + interval '1 minute'")
        await eventually(lambda: owner.fetchval("SELECT held_until > now() + interval '30 minutes' FROM jobs"))
        await jobs.save(job, "done")
        while await jobs.renewed.get():  # what was on its way before
            pass
    assert await owner.fetchval("SELECT held_until = '-infinity' FROM jobs")


async def test_who_asks_a_question_gets_its_answer_before_the_row(jobs: Jobs) -> None:
    leases = leases_of(jobs)
    answers: list[str] = []
    looked = asyncio.Event()

    async def answer() -> str | None:
        looked.set()
        return answers[0] if answers else None

    async with leases.holding(await leases.acquire(KEY, until=soon())):
        waiting = asyncio.create_task(leases.acquire_or_answer(KEY, question="q", answer=answer, until=soon()))
        await looked.wait()
        answers.append("yes")
        leases.answered("q")
        async with asyncio.timeout(WITHIN_S):
            assert await waiting == ("yes", None)


async def test_who_asks_a_question_gets_the_row_when_nobody_answers(jobs: Jobs) -> None:
    leases = leases_of(jobs)

    async def answer() -> str | None:
        return None

    found, job = await leases.acquire_or_answer(KEY, question="q", answer=answer, until=soon())
    assert found is None
    assert job is not None


async def test_an_answer_that_is_there_needs_no_row(jobs: Jobs) -> None:
    async def answer() -> str | None:
        return "yes"

    found = await leases_of(jobs).acquire_or_answer(("main", "none"), question="q", answer=answer, until=soon())
    assert found == ("yes", None)


async def test_patience_ends_before_the_deadline_of_the_call() -> None:
    loop = asyncio.get_running_loop()
    before_s = loop.time()
    assert before_s + 10 <= patience(wait_max_s=10) <= loop.time() + 10
    call_context.begin(correlation="c", remaining_s=100.0)
    assert before_s + 99 <= patience(wait_max_s=1_000, answer_margin_s=1) <= loop.time() + 99

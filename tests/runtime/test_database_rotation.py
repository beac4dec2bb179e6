"""A database's password is replaced under calls: none fails, whichever side changes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from local.databases import ServiceDatabase
from local.postgres import EmbeddedPostgres
from services.errors import DependencyUnavailable
from services.runtime.database.connections import DirectConnections, make_engine, reading, role_of
from services.runtime.process.clock import Clock
from services.runtime.process.followed import FollowedFile
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import RetryPolicy, Work, WorkClass, WorkKind
from tests.conftest import Databases
from tests.eventually import eventually
from tests.mounts import Mount

SAMPLE = Path(__file__).parent / "migrations_sample"


async def none_is_due(work: Work) -> None:
    raise AssertionError(work)


DELIVERIES = WorkKind(
    name="deliveries", work_class=WorkClass.DELIVERIES, table="deliveries", key={"payment_id": "text"},
    retry=RetryPolicy(tries_max=None, first_delay=timedelta(seconds=1)),
    handler=none_is_due,
)  # fmt: skip
CALLS = 5
"""By either way to the database, in each state of the rotation."""


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("sample", migrations=SAMPLE)  # sets the role's password anew, for each test
    yield database
    await databases.drop(database)


def with_password(url: str, password: str) -> str:
    return make_url(url).set(password=password).render_as_string(hide_password=False)


async def alter(postgres: EmbeddedPostgres, role: str, password: str) -> None:
    connection = await asyncpg.connect(postgres.admin_url)
    await connection.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
    await connection.close()


class Load:
    """Calls that each connect anew, by a pool and by itself, and what became of them."""

    def __init__(self, url: FollowedFile[str]) -> None:
        self.failed: list[Exception] = []
        self.done = 0
        self._url = url

    async def call(self) -> None:
        engine = make_engine(self._url, application_name="test")
        async with reading(engine) as connection:
            await connection.execute(sa.text("SELECT 1"))
        await engine.dispose()
        async with (
            DirectConnections(self._url, application_name="test", size=1) as held,
            held.statement(None) as connection,
        ):
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Callable[[], asyncio.Future[object]]]:
        async def call_for_ever() -> None:
            while True:
                try:
                    await self.call()
                except (DependencyUnavailable, asyncpg.PostgresError, sa.exc.SQLAlchemyError) as error:
                    self.failed.append(error)
                self.done += 1

        def more() -> asyncio.Future[object]:
            until = self.done + 1 + CALLS
            return asyncio.ensure_future(eventually(lambda: self.done >= until))

        task = asyncio.create_task(call_for_ever())
        yield more
        task.cancel()
        await asyncio.wait({task})


async def test_no_call_fails_while_file_and_server_take_the_new_password_one_after_the_other(
    database: ServiceDatabase, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    mount = Mount(tmp_path / "database", {"runtime-url": database.runtime_url})
    load = Load(FollowedFile(mount.path("runtime-url"), str, name="BATZEN_RUNTIME_DATABASE_URL"))
    role = role_of(database.runtime_url)

    async with load.running() as more:
        await more()
        mount.replace({"runtime-url": with_password(database.runtime_url, "second")})
        await more()
        await alter(postgres, role, "second")
        await more()
        for nothing_good in ({"runtime-url": ""}, {}):
            mount.replace(nothing_good)
            await more()
        mount.replace({"runtime-url": with_password(database.runtime_url, "third")})
        await more()
        await alter(postgres, role, "third")
        await more()

    assert load.failed == []


async def test_a_password_that_is_neither_the_new_nor_the_one_before_is_refused(
    database: ServiceDatabase, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """What shows that the calls above connect at all, by the file's password."""
    mount = Mount(tmp_path / "database", {"runtime-url": database.runtime_url})
    load = Load(FollowedFile(mount.path("runtime-url"), str, name="BATZEN_RUNTIME_DATABASE_URL"))
    await load.call()

    await alter(postgres, role_of(database.runtime_url), "elsewhere")
    mount.replace({"runtime-url": with_password(database.runtime_url, "second")})

    with pytest.raises(DependencyUnavailable):
        await load.call()


async def test_a_login_that_another_database_refuses_leads_not_back_to_the_one_before(
    databases: Databases, database: ServiceDatabase, tmp_path: Path
) -> None:
    mount = Mount(tmp_path / "database", {"runtime-url": database.runtime_url})
    load = Load(FollowedFile(mount.path("runtime-url"), str, name="BATZEN_RUNTIME_DATABASE_URL"))
    await load.call()
    elsewhere = await databases.create("elsewhere", migrations=SAMPLE)

    mount.replace({"runtime-url": with_password(elsewhere.runtime_url, "guessed")})
    with pytest.raises(DependencyUnavailable):
        await load.call()

    mount.replace({"runtime-url": elsewhere.runtime_url})
    await load.call()
    await databases.drop(elsewhere)


async def test_a_listener_that_lost_its_connection_comes_back_by_the_new_password(
    databases: Databases, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    database = await databases.create("gateway")
    mount = Mount(tmp_path / "database", {"runtime-url": database.runtime_url})
    url = FollowedFile(mount.path("runtime-url"), str, name="BATZEN_RUNTIME_DATABASE_URL")
    admin = await asyncpg.connect(postgres.admin_url)
    listening = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name = 'test-work'"

    async with DirectConnections(url, application_name="test", size=1) as held:
        work = Engine(url, held, clock=Clock(), application_name="test")
        work.register(DELIVERIES)
        async with work.running():
            before = await eventually(lambda: admin.fetchval(listening, database.name))
            await alter(postgres, role_of(database.runtime_url), "second")
            mount.replace({"runtime-url": with_password(database.runtime_url, "second")})
            await admin.execute("SELECT pg_terminate_backend($1)", before)

            async def is_back() -> bool:
                return await admin.fetchval(listening, database.name) not in (None, before)

            await eventually(is_back)

    await admin.close()
    await databases.drop(database)
    await databases.drop(await databases.create_empty("gateway"))  # gives the role the password that others know

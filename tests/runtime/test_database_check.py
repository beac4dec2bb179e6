"""A database that cannot be used is refused by name at the start; one that is away is waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from local.databases import ServiceDatabase
from local.postgres import EmbeddedPostgres
from services.errors import DependencyUnavailable
from services.runtime.database import check
from services.runtime.database.check import DatabaseUnfit, wait_for_database
from services.runtime.database.connections import make_engine, transaction
from services.runtime.database.migrations import migrate, wait_for_schema
from tests.conftest import Databases
from tests.eventually import WITHIN_S, persistently
from tests.logged import said_by
from tests.pooling import needs_pooler, pooler

SAMPLE = Path(__file__).parent / "migrations_sample"


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("sample", migrations=SAMPLE)
    yield database
    await databases.drop(database)


def changed(url: str, **parts: Any) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)


# Without a pooler.


async def test_a_fit_database_is_taken_at_once(database: ServiceDatabase) -> None:
    await wait_for_database(database.runtime_url, timeout_s=0)
    await wait_for_database(database.owner_url, timeout_s=0)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"password": "guessed"}, "password authentication failed"),
        ({"username": "nobody_here"}, "nobody_here"),
        ({"database": "not_there"}, 'database "not_there" does not exist'),
    ],
)
async def test_what_no_waiting_mends_is_refused_by_name(
    database: ServiceDatabase, parts: dict[str, str], named: str
) -> None:
    url = changed(database.runtime_url, **parts)

    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(DatabaseUnfit, match=named) as caught:
            await wait_for_database(url, timeout_s=60)

    assert f":{make_url(url).port}/{make_url(url).database}" in str(caught.value)
    assert str(make_url(url).password) not in str(caught.value)


async def test_another_encoding_is_refused_by_name(database: ServiceDatabase, postgres: EmbeddedPostgres) -> None:
    admin = await asyncpg.connect(postgres.admin_url)
    await admin.execute("CREATE DATABASE in_latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with pytest.raises(DatabaseUnfit, match=r"its encoding is LATIN1"):
            await wait_for_database(changed(database.runtime_url, database="in_latin"), timeout_s=60)
    finally:
        await admin.execute("DROP DATABASE in_latin WITH (FORCE)")
        await admin.close()


async def test_a_server_that_is_too_old_is_refused_by_name(
    database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "VERSION_MIN", 990_000)

    with pytest.raises(DatabaseUnfit, match=r"it is PostgreSQL \d+, and 99 or newer is needed"):
        await wait_for_database(database.runtime_url, timeout_s=60)


async def test_a_database_that_is_away_is_waited_for_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(check, "SAY_EVERY_S", 0.1)

    with pytest.raises(DependencyUnavailable):
        await wait_for_database("postgresql+asyncpg://role:secret@127.0.0.1:1/gateway", timeout_s=0.5)

    said = [record.message for record in said_by(check, caplog) if record.levelno == logging.WARNING]
    assert 1 <= len(said) <= 5
    assert all("Waiting for the database 127.0.0.1:1/gateway" in one and "secret" not in one for one in said)


async def test_a_database_that_comes_back_is_taken(own_postgres: EmbeddedPostgres) -> None:
    url = make_url(own_postgres.admin_url).set(drivername="postgresql+asyncpg")
    await asyncio.to_thread(own_postgres.stop)
    waiting = asyncio.create_task(wait_for_database(url.render_as_string(hide_password=False), timeout_s=60))

    await asyncio.to_thread(own_postgres.start)

    async with asyncio.timeout(WITHIN_S):
        await waiting


# Behind a pooler.


@pytest.fixture
def pooled(database: ServiceDatabase) -> Iterator[Callable[..., str]]:
    """`pooled(mode, …)` starts a pooler and returns the URL of the runtime role through it."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(pooler(database, **settings))


async def with_timeouts(database: ServiceDatabase, postgres: EmbeddedPostgres) -> None:
    """Give the role what a pooler does not let through."""
    admin = await asyncpg.connect(postgres.admin_url)
    role = make_url(database.runtime_url).username
    for name, wanted_ms in check.TIMEOUTS_MS.items():
        await admin.execute(f'ALTER ROLE "{role}" IN DATABASE "{database.name}" SET {name} = \'{wanted_ms}ms\'')
    await admin.close()


@needs_pooler
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_that_keeps_no_connection_for_us_is_refused_by_name(
    mode: str, database: ServiceDatabase, postgres: EmbeddedPostgres, pooled: Callable[..., str]
) -> None:
    await with_timeouts(database, postgres)
    url = pooled(pool_mode=mode)

    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(DatabaseUnfit, match=r"pooler .* use pool_mode = session"):
            await wait_for_database(url, timeout_s=60)


@needs_pooler
async def test_a_migration_through_such_a_pooler_is_refused_too(pooled: Callable[..., str]) -> None:
    url = pooled(pool_mode="transaction", owner=True)

    with pytest.raises(DatabaseUnfit, match=r"use pool_mode = session"):
        await persistently(lambda: migrate(url, SAMPLE, runtime_role="x"), again=OSError)  # while it starts


@needs_pooler
async def test_a_service_works_through_session_pooling(
    database: ServiceDatabase, postgres: EmbeddedPostgres, pooled: Callable[..., str]
) -> None:
    await with_timeouts(database, postgres)
    engine = make_engine(pooled(pool_mode="session"), application_name="test")

    await wait_for_schema(engine, SAMPLE, timeout_s=60)
    async with transaction(engine, "book.store") as connection:
        found = (await connection.exec_driver_sql("SELECT current_setting('statement_timeout')")).scalar_one()

    assert found == "5s"
    await engine.dispose()


@needs_pooler
async def test_time_outs_that_a_pooler_ignores_are_missed_by_name(pooled: Callable[..., str]) -> None:
    url = pooled(pool_mode="session")

    with pytest.raises(
        DatabaseUnfit, match=r"ALTER ROLE .* SET statement_timeout = '5000ms'; ALTER ROLE .* lock_timeout"
    ):
        await wait_for_database(url, timeout_s=60)


@needs_pooler
async def test_a_pooler_that_takes_no_settings_is_refused_by_name(pooled: Callable[..., str]) -> None:
    url = pooled(pool_mode="session", ignore="extra_float_digits")

    with pytest.raises(DatabaseUnfit, match=r"unsupported startup parameter.*have it ignore statement_timeout"):
        await wait_for_database(url, timeout_s=60)


@needs_pooler
@pytest.mark.parametrize("part", ["password", "database", "username"])
async def test_a_poolers_own_refusals_are_refusals(part: str, pooled: Callable[..., str]) -> None:
    url = changed(pooled(pool_mode="session"), **{part: "wrong"})

    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(DatabaseUnfit):
            await wait_for_database(url, timeout_s=60)

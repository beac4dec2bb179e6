"""Connections heal by themselves, nothing hangs, and a caller hears whether to try again."""

# ruff: noqa: PT012 - a transaction is a block, and the block is what raises

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from local.databases import ServiceDatabase
from local.postgres import EmbeddedPostgres
from services.errors import DependencyUnavailable
from services.runtime import crash_points
from services.runtime.database.connections import (
    DirectConnections,
    after_commit,
    make_engine,
    ping,
    plain_dsn,
    reading,
    role_of,
    transaction,
    violated_constraint,
)
from tests.conftest import Databases
from tests.eventually import persistently

SAMPLE = Path(__file__).parent / "migrations_sample"
SILENT_MS = 1_000
"""As long as a test has to wait for a server that says nothing; a statement of one that answers takes less."""
BOOK = sa.text(
    "INSERT INTO bookings (tenant_id, booking_id, request_id, amount_minor) "
    "VALUES ('main', :booking_id, gen_random_uuid(), 1)"
)


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("sample", migrations=SAMPLE)
    yield database
    await databases.drop(database)


@pytest.fixture
async def engine(database: ServiceDatabase) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database.runtime_url, application_name="test", pool_size=2)
    yield engine
    await engine.dispose()


@pytest.fixture
async def held(database: ServiceDatabase) -> AsyncIterator[DirectConnections]:
    async with DirectConnections(database.runtime_url, application_name="test", size=2) as held:
        yield held


async def _bookings(engine: AsyncEngine) -> int:
    async with reading(engine) as connection:
        return int(await connection.scalar(sa.text("SELECT count(*) FROM bookings")) or 0)


async def _end_every_connection(database: ServiceDatabase, postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(postgres.admin_url)
    ended = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = $1"
    assert await connection.fetchval(ended, database.name) > 0
    await connection.close()


async def test_transaction_commits_all_or_nothing(engine: AsyncEngine) -> None:
    async with transaction(engine, "book.store") as connection:
        await connection.execute(BOOK, {"booking_id": "kept"})

    with pytest.raises(RuntimeError, match="the block failed"):
        async with transaction(engine, "book.store") as connection:
            await connection.execute(BOOK, {"booking_id": "lost"})
            raise RuntimeError("the block failed")

    assert await _bookings(engine) == 1


async def test_transaction_passes_its_three_positions_in_order(engine: AsyncEngine, tmp_path: Path) -> None:
    record = tmp_path / "points"
    crash_points.configure(record=record, armed=None, production=False)

    def passed() -> list[str]:  # by us: services of other tests may run in this process
        return [position for position in record.read_text().split() if position.startswith("book.")]

    async with transaction(engine, "book.store") as connection:
        assert passed() == ["book.store:begin"]
        await connection.execute(BOOK, {"booking_id": "b"})

    crash_points.configure(record=None, armed=None, production=False)
    assert passed() == ["book.store:begin", "book.store:before_commit", "book.store:after_commit"]


async def test_what_waits_for_the_commit_happens_after_it_or_never(engine: AsyncEngine) -> None:
    done: list[str] = []
    async with transaction(engine, "book.store") as connection:
        after_commit(connection, lambda: done.append("committed"))
        assert done == []
    assert done == ["committed"]

    with pytest.raises(RuntimeError, match="the block failed"):
        async with transaction(engine, "book.store") as connection:
            after_commit(connection, lambda: done.append("rolled back"))
            raise RuntimeError("the block failed")
    async with reading(engine) as connection:
        with pytest.raises(RuntimeError, match=r"inside of database\.transaction"):
            after_commit(connection, lambda: done.append("never"))

    assert done == ["committed"]


async def test_violated_constraint_is_named(engine: AsyncEngine) -> None:
    with pytest.raises(sa.exc.IntegrityError) as caught:
        async with transaction(engine, "book.store") as connection:
            await connection.execute(BOOK, {"booking_id": "b"})
            await connection.execute(BOOK, {"booking_id": "b"})

    assert violated_constraint(caught.value) == "bookings_pkey"
    assert violated_constraint(ValueError("something else")) is None


async def test_statement_that_is_wrong_stays_a_bug(engine: AsyncEngine) -> None:
    with pytest.raises(sa.exc.ProgrammingError):
        async with transaction(engine, "book.store") as connection:
            await connection.execute(sa.text("SELECT no_such_column"))


async def test_connections_broken_while_idle_are_replaced_unseen(
    engine: AsyncEngine, database: ServiceDatabase, postgres: EmbeddedPostgres
) -> None:
    await asyncio.gather(ping(engine), ping(engine))
    await _end_every_connection(database, postgres)

    assert await _bookings(engine) == 0
    assert [*await asyncio.gather(_bookings(engine), _bookings(engine))] == [0, 0]


async def test_connection_broken_in_a_transaction_is_unavailable_and_heals(
    engine: AsyncEngine, database: ServiceDatabase, postgres: EmbeddedPostgres
) -> None:
    with pytest.raises(DependencyUnavailable):
        async with transaction(engine, "book.store") as connection:
            await connection.execute(BOOK, {"booking_id": "b"})
            await _end_every_connection(database, postgres)
            await connection.execute(BOOK, {"booking_id": "c"})

    with pytest.raises(DependencyUnavailable):
        async with transaction(engine, "book.store") as connection:
            await connection.execute(BOOK, {"booking_id": "b"})
            await _end_every_connection(database, postgres)  # found at the commit

    assert await _bookings(engine) == 0


async def test_postgres_that_is_down_is_unavailable_and_its_restart_heals(own_postgres: EmbeddedPostgres) -> None:
    url = own_postgres.admin_url
    engine = make_engine(url.replace("postgresql:", "postgresql+asyncpg:"), application_name="test")
    await ping(engine)
    async with DirectConnections(url, application_name="test", size=1) as held:
        async with held.statement("book.store") as connection:
            await connection.execute("SELECT 1")
        own_postgres.stop()

        with pytest.raises(DependencyUnavailable):
            await ping(engine)
        with pytest.raises(DependencyUnavailable):
            async with transaction(engine, "book.store"):
                pass
        with pytest.raises(DependencyUnavailable):
            async with held.statement("book.store") as connection:
                await connection.execute("SELECT 1")

        own_postgres.start()
        await ping(engine)
        async with held.statement("book.store") as connection:
            assert await connection.fetchval("SELECT 1") == 1
    await engine.dispose()


async def test_more_connections_than_the_database_has_is_unavailable(
    database: ServiceDatabase, postgres: EmbeddedPostgres
) -> None:
    admin = await asyncpg.connect(postgres.admin_url)
    await admin.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT 1')
    taken = await asyncpg.connect(plain_dsn(database.runtime_url))
    engine = make_engine(database.runtime_url, application_name="test")

    with pytest.raises(DependencyUnavailable):
        await ping(engine)

    await taken.close()
    await admin.close()
    await engine.dispose()


async def test_server_that_only_reads_just_now_is_unavailable(
    database: ServiceDatabase, postgres: EmbeddedPostgres
) -> None:
    """As a standby does until it is promoted."""
    admin = await asyncpg.connect(postgres.admin_url)
    await admin.execute(f'ALTER DATABASE "{database.name}" SET default_transaction_read_only = on')
    await admin.close()
    engine = make_engine(database.runtime_url, application_name="test")

    with pytest.raises(DependencyUnavailable):
        async with transaction(engine, "book.store") as connection:
            await connection.execute(BOOK, {"booking_id": "b"})

    await engine.dispose()


async def test_statement_that_takes_too_long_ends(database: ServiceDatabase) -> None:
    engine = make_engine(database.runtime_url, application_name="test", statement_timeout_ms=50)

    with pytest.raises(DependencyUnavailable):
        async with transaction(engine, "book.store") as connection:
            await connection.execute(sa.text("SELECT pg_sleep(60)"))

    await persistently(lambda: ping(engine), again=DependencyUnavailable)
    await engine.dispose()


async def test_lock_that_somebody_keeps_is_not_waited_for_long(engine: AsyncEngine, database: ServiceDatabase) -> None:
    impatient = make_engine(database.runtime_url, application_name="test", lock_timeout_ms=50)
    async with transaction(engine, "book.store") as holder:
        await holder.execute(sa.text("LOCK TABLE bookings"))

        with pytest.raises(DependencyUnavailable):
            await _bookings(impatient)

    assert await _bookings(impatient) == 0
    await impatient.dispose()


async def test_deadlines_that_pass_leave_no_connection_behind(engine: AsyncEngine) -> None:
    for _ in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await _sleep_in_transaction(engine)

    assert [*await asyncio.gather(_bookings(engine), _bookings(engine))] == [0, 0]


async def _sleep_in_transaction(engine: AsyncEngine) -> None:
    async with transaction(engine, "book.store") as connection:
        await connection.execute(sa.text("SELECT pg_sleep(60)"))


async def test_reading_takes_a_snapshot_when_asked(engine: AsyncEngine) -> None:
    count = sa.text("SELECT count(*) FROM bookings")
    async with reading(engine, snapshot=True) as frozen:
        assert await frozen.scalar(count) == 0
        async with transaction(engine, "book.store") as connection:
            await connection.execute(BOOK, {"booking_id": "b"})
        assert await frozen.scalar(count) == 0

    async with reading(engine) as connection:
        assert await connection.scalar(count) == 1
        assert await connection.scalar(sa.text("SHOW transaction_isolation")) == "read committed"


async def test_transaction_after_a_read_on_the_same_connection_is_one(database: ServiceDatabase) -> None:
    engine = make_engine(database.runtime_url, application_name="test", pool_size=1)
    assert await _bookings(engine) == 0

    with pytest.raises(RuntimeError):
        async with transaction(engine, "book.store") as connection:
            await connection.execute(BOOK, {"booking_id": "b"})
            raise RuntimeError

    assert await _bookings(engine) == 0
    await engine.dispose()


async def test_held_connection_is_the_same_one_again(held: DirectConnections) -> None:
    backends = set()
    for _ in range(5):
        async with held.statement("book.store") as connection:
            backends.add(await connection.fetchval("SELECT pg_backend_pid()"))

    assert len(backends) == 1


async def test_held_connections_have_a_limit(held: DirectConnections) -> None:
    running = 0
    most = 0
    both = asyncio.Event()

    async def work() -> None:
        nonlocal running, most
        async with held.statement("book.store") as connection:
            running += 1
            most = max(most, running)
            if running == 2:
                both.set()
            await both.wait()
            await connection.execute("SELECT 1")
            running -= 1

    await asyncio.gather(*(work() for _ in range(20)))

    assert most == 2


async def test_held_connection_broken_in_use_is_unavailable_and_replaced(
    held: DirectConnections, database: ServiceDatabase, postgres: EmbeddedPostgres
) -> None:
    with pytest.raises(DependencyUnavailable):
        async with held.statement("book.store") as connection:
            await _end_every_connection(database, postgres)
            await connection.execute("SELECT 1")

    async with held.statement("book.store") as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_server_that_denies_a_connection_is_unavailable_until_it_grants_one(
    database: ServiceDatabase, postgres: EmbeddedPostgres
) -> None:
    role = role_of(database.runtime_url)
    admin = await asyncpg.connect(postgres.admin_url)
    async with DirectConnections(database.runtime_url, application_name="test", size=1) as held:
        try:
            await admin.execute(f'ALTER ROLE "{role}" NOLOGIN')
            with pytest.raises(DependencyUnavailable):
                async with held.statement(None):
                    pass
        finally:
            await admin.execute(f'ALTER ROLE "{role}" LOGIN')
            await admin.close()
        async with held.statement(None) as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_held_connection_that_fell_silent_is_given_up(database: ServiceDatabase) -> None:
    async with DirectConnections(
        database.runtime_url, application_name="test", size=1, statement_timeout_ms=SILENT_MS
    ) as held:
        async with held.statement(None) as connection:
            backend = await connection.fetchval("SELECT pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(DependencyUnavailable):
                await _one(held)

            assert await persistently(lambda: _one(held), again=DependencyUnavailable) == 1
        finally:
            os.kill(backend, signal.SIGCONT)


async def _one(held: DirectConnections) -> int:
    async with held.statement("book.store") as connection:
        return int(await connection.fetchval("SELECT 1"))


async def test_pooled_connection_that_fell_silent_is_given_up(database: ServiceDatabase) -> None:
    engine = make_engine(database.runtime_url, application_name="test", pool_size=1, statement_timeout_ms=SILENT_MS)
    async with reading(engine) as connection:
        backend = await connection.scalar(sa.text("SELECT pg_backend_pid()"))
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(DependencyUnavailable):
            await _bookings(engine)
        assert await persistently(lambda: _bookings(engine), again=DependencyUnavailable) == 0
    finally:
        os.kill(backend, signal.SIGCONT)
        await engine.dispose()


async def test_held_connection_whose_caller_gave_up_serves_the_next(database: ServiceDatabase) -> None:
    async with DirectConnections(database.runtime_url, application_name="test", size=1) as held:
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await _sleep_on(held)

        async with held.statement("book.store") as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def _sleep_on(held: DirectConnections) -> None:
    async with held.statement("book.store") as connection:
        await connection.execute("SELECT pg_sleep(60)")


def test_role_of_a_url() -> None:
    assert role_of("postgresql+asyncpg://batzen_status_runtime:secret@db/batzen_status") == "batzen_status_runtime"
    with pytest.raises(ValueError, match="names no role"):
        role_of("postgresql://db/batzen_status")

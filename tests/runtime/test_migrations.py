"""Migrations: once each, all or nothing, by the owner only."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from local.databases import ServiceDatabase
from local.environments import SERVICES
from services.runtime.database.connections import LOCK_TIMEOUT_MS, DirectConnections, make_engine, plain_dsn, role_of
from services.runtime.database.migrations import (
    LOCK_WAIT_MS,
    MigrationError,
    SchemaBehind,
    load,
    migrate,
    wait_for_schema,
)
from tests.conftest import Databases
from tests.eventually import eventually
from tests.schema import schema_differences

SAMPLE = Path(__file__).parent / "migrations_sample"


@pytest.fixture
async def empty(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create_empty("sample")
    yield database
    await databases.drop(database)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the sample that a test may change."""
    shutil.copytree(SAMPLE, tmp_path / "migrations")
    return tmp_path / "migrations"


async def _migrate(database: ServiceDatabase, directory: Path, *, contract: bool = False) -> list[str]:
    role = role_of(database.runtime_url)
    return await migrate(database.owner_url, directory, runtime_role=role, contract=contract)


async def _execute(url: str, sql: str) -> object:
    connection = await asyncpg.connect(plain_dsn(url))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_each_file_is_applied_once(empty: ServiceDatabase) -> None:
    assert await _migrate(empty, SAMPLE) == ["bookings", "history"]
    assert await _migrate(empty, SAMPLE) == []


async def test_replicas_that_start_together_apply_each_file_once(empty: ServiceDatabase) -> None:
    applied = await asyncio.gather(*(_migrate(empty, SAMPLE) for _ in range(5)))

    assert sorted(itertools.chain.from_iterable(applied)) == ["bookings", "history"]


async def test_a_file_that_fails_leaves_nothing_behind(empty: ServiceDatabase, directory: Path) -> None:
    (directory / "0003_broken.sql").write_text("-- expand\nCREATE TABLE half (a int);\nSELECT no_such_column;\n")

    with pytest.raises(MigrationError, match=r"0003_broken: column .* does not exist"):
        await _migrate(empty, directory)

    assert await _execute(empty.owner_url, "SELECT to_regclass('half')") is None
    assert await _execute(empty.owner_url, "SELECT max(number) FROM schema_migrations") == 2
    (directory / "0003_broken.sql").write_text("-- expand\nCREATE TABLE half (a int);\n")
    assert await _migrate(empty, directory) == ["broken"]


async def test_a_changed_file_is_refused(empty: ServiceDatabase, directory: Path) -> None:
    await _migrate(empty, directory)
    with (directory / "0001_bookings.sql").open("a") as file:
        file.write("-- one more word\n")

    with pytest.raises(MigrationError, match="0001_bookings was changed after it was applied"):
        await _migrate(empty, directory)


async def test_contraction_waits_to_be_asked_for(empty: ServiceDatabase, directory: Path) -> None:
    (directory / "0003_drop_note.sql").write_text("-- contract\nALTER TABLE bookings DROP COLUMN note;\n")

    assert await _migrate(empty, directory) == ["bookings", "history"]
    assert await _migrate(empty, directory) == []
    assert await _migrate(empty, directory, contract=True) == ["drop_note"]


async def test_expansion_after_a_pending_contraction_is_refused(empty: ServiceDatabase, directory: Path) -> None:
    (directory / "0003_drop_note.sql").write_text("-- contract\nALTER TABLE bookings DROP COLUMN note;\n")
    (directory / "0004_more.sql").write_text("-- expand\nALTER TABLE bookings ADD COLUMN more text;\n")

    with pytest.raises(MigrationError, match="0003_drop_note contracts"):
        await _migrate(empty, directory)
    assert await _migrate(empty, directory, contract=True) == ["bookings", "history", "drop_note", "more"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("0004_gap.sql", "-- expand\n", "must be named 0003_"),
        ("0002_twice.sql", "-- expand\n", "must be named 0003_"),
        ("0003_Upper.sql", "-- expand\n", "must be named 0003_"),
        ("0003_phase.sql", "CREATE TABLE a (a int);\n", "first line"),
        ("0003_phase.sql", "", "first line"),
    ],
)
def test_files_out_of_order_or_without_a_phase_are_refused(directory: Path, name: str, text: str, reason: str) -> None:
    (directory / name).write_text(text)

    with pytest.raises(MigrationError, match=reason):
        load(directory)


async def test_runtime_role_writes_rows_and_changes_no_schema(empty: ServiceDatabase) -> None:
    await _migrate(empty, SAMPLE)
    insert = "INSERT INTO bookings (tenant_id, booking_id, request_id, amount_minor) VALUES ('main', 'b', $$%s$$, 1)"

    await _execute(empty.runtime_url, insert % "6f1c1f50-4a41-4a39-8d9c-1c5d0c3b8f01")
    await _execute(empty.runtime_url, "UPDATE bookings SET amount_minor = 2")
    await _execute(empty.runtime_url, "DELETE FROM bookings")

    for statement in (
        "CREATE TABLE forbidden (a int)",
        "ALTER TABLE bookings ADD COLUMN forbidden int",
        "DROP TABLE bookings",
        "TRUNCATE bookings",
        "DELETE FROM schema_migrations",
        "CREATE SCHEMA forbidden",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _execute(empty.runtime_url, statement)


@pytest.mark.parametrize("service", SERVICES)
async def test_the_runtime_role_of_a_service_owns_nothing_and_makes_nothing(databases: Databases, service: str) -> None:
    database = await databases.create(service)
    try:
        owned = "SELECT array_agg(relname) FROM pg_class WHERE relowner = current_user::regrole"
        assert await _execute(database.runtime_url, owned) is None
        makes = (
            "SELECT has_database_privilege(current_database(), 'CREATE, TEMPORARY')"
            " OR bool_or(has_schema_privilege(oid, 'CREATE')) FROM pg_namespace WHERE nspname !~ '^pg_temp'"
        )
        assert await _execute(database.runtime_url, makes) is False
        tables = "SELECT string_agg(format('DROP TABLE %I', relname), ';') FROM pg_class WHERE relkind IN ('r', 'p')"
        drops = str(await _execute(database.owner_url, f"{tables} AND relnamespace = 'public'::regnamespace"))
        for drop in drops.split(";"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await _execute(database.runtime_url, drop)
    finally:
        await databases.drop(database)


async def test_a_migration_that_waits_for_a_table_gives_up_before_the_requests_behind_it_do(
    empty: ServiceDatabase, directory: Path
) -> None:
    assert LOCK_WAIT_MS < LOCK_TIMEOUT_MS
    await _migrate(empty, directory)
    (directory / "0003_notes.sql").write_text("-- expand\nALTER TABLE bookings ADD COLUMN other text;\n")
    holder = await asyncpg.connect(plain_dsn(empty.runtime_url))
    try:
        async with holder.transaction():
            await holder.fetch("SELECT * FROM bookings")  # for as long as the transaction goes on
            migrating = asyncio.create_task(_migrate(empty, directory))
            await eventually(lambda: _is_waited_for(empty))
            async with (  # behind the migration, and not for too long
                DirectConnections(empty.runtime_url, application_name="test", size=1) as held,
                held.statement(None) as connection,
            ):
                assert await connection.fetch("SELECT * FROM bookings") == []
            with pytest.raises(MigrationError, match=r"0003_notes: .*lock timeout"):
                await migrating
    finally:
        await holder.close()
    assert await _migrate(empty, directory) == ["notes"]


async def _is_waited_for(database: ServiceDatabase) -> bool:
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'bookings'::regclass"
    return bool(await _execute(database.owner_url, waits))


async def test_append_only_table_takes_no_change_from_the_runtime_role(empty: ServiceDatabase) -> None:
    await _migrate(empty, SAMPLE)
    await _execute(empty.runtime_url, "INSERT INTO history VALUES ('b', 1, '{}')")

    for statement in ("UPDATE history SET revision = 2", "DELETE FROM history", "TRUNCATE history"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _execute(empty.runtime_url, statement)


async def test_copy_of_a_migrated_database_keeps_its_grants(databases: Databases) -> None:
    database = await databases.create("sample", migrations=SAMPLE)

    await _execute(database.runtime_url, "INSERT INTO history VALUES ('b', 1, '{}')")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _execute(database.runtime_url, "DELETE FROM history")

    await databases.drop(database)


async def test_service_waits_until_its_schema_is_there(empty: ServiceDatabase) -> None:
    engine = make_engine(empty.runtime_url, application_name="test")
    waiting = asyncio.create_task(wait_for_schema(engine, SAMPLE, timeout_s=60))

    await _migrate(empty, SAMPLE)

    await waiting
    await engine.dispose()


async def test_service_gives_up_on_a_schema_that_stays_behind(empty: ServiceDatabase, directory: Path) -> None:
    engine = make_engine(empty.runtime_url, application_name="test")
    await _migrate(empty, directory)
    (directory / "0003_next.sql").write_text("-- expand\nCREATE TABLE next (a int);\n")

    with pytest.raises(SchemaBehind, match="next"):
        await wait_for_schema(engine, directory, timeout_s=0)

    (directory / "0003_next.sql").write_text("-- contract\nDROP TABLE history;\n")
    await wait_for_schema(engine, directory, timeout_s=0)
    await engine.dispose()


def _metadata() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "bookings",
        metadata,
        sa.Column("tenant_id", sa.Text, primary_key=True),
        sa.Column("booking_id", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Uuid, nullable=False),
        sa.Column("amount_minor", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("tenant_id", "request_id", name="bookings_request"),
    )
    sa.Table(
        "history",
        metadata,
        sa.Column("booking_id", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True),
        sa.Column("facts", JSONB, nullable=False),
    )
    return metadata


async def test_declared_tables_that_equal_the_migrated_ones_have_no_differences(empty: ServiceDatabase) -> None:
    await _migrate(empty, SAMPLE)

    assert await schema_differences(empty.owner_url, _metadata()) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE bookings ALTER COLUMN note SET NOT NULL", "bookings.note"),
        ("ALTER TABLE bookings ALTER COLUMN amount_minor TYPE integer", "bookings.amount_minor"),
        ("ALTER TABLE bookings ALTER COLUMN create_time TYPE timestamp", "bookings.create_time"),
        ("ALTER TABLE bookings DROP COLUMN note", "bookings.note"),
        ("ALTER TABLE bookings ADD COLUMN extra text", "bookings.extra"),
        ("ALTER TABLE bookings DROP CONSTRAINT bookings_request", "bookings.unique bookings_request"),
        ("ALTER TABLE bookings DROP CONSTRAINT bookings_pkey", "bookings.primary key"),
        ("CREATE UNIQUE INDEX once ON history (revision)", "history.unique once"),
        ("CREATE TABLE undeclared (a int)", "undeclared.a"),
    ],
)
async def test_each_difference_from_the_declared_tables_is_named(
    empty: ServiceDatabase, change: str, named: str
) -> None:
    await _migrate(empty, SAMPLE)
    await _execute(empty.owner_url, change)

    differences = await schema_differences(empty.owner_url, _metadata())

    assert [difference for difference in differences if difference.startswith(f"{named}:")], differences

"""The schema of a service: numbered SQL files, applied once each by the owner role, never by a serving process.

`0001_quotes.sql`, `0002_…` without gaps. The first line says when a file may run:

- `-- expand`: before the release that needs it; what runs now keeps working.
- `-- contract`: once nothing of the old release runs; only with `contract=True`.

Each file runs in one transaction together with its record, so it happens wholly or not at all (hence no
`CREATE INDEX CONCURRENTLY`). The runtime role may read and write every table; a file takes back what it must not do:

    REVOKE UPDATE, DELETE ON transitions FROM :runtime_role;
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.errors import DependencyUnavailable
from services.runtime.database.check import SAY_EVERY_S, refuse_unfit, wait_for_database
from services.runtime.database.connections import connect_held, reading

FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
RUNTIME_ROLE = re.compile(r"(?<!:):runtime_role\b")
ADVISORY_LOCK = 0x62_61_74_7A_65_6E
"""One migration at a time in a database; the number spells `batzen`."""
LOCK_WAIT_MS = 2_000
"""For a table that requests hold. Requests queue behind a migration that waits, so it gives up before the first of them
would (`LOCK_TIMEOUT_MS`), and is started again."""
SCHEMA_POLL_S = 0.2

RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  number integer PRIMARY KEY,
  name text NOT NULL,
  phase text NOT NULL,
  checksum text NOT NULL,
  apply_time timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Exception):
    """The migrations cannot be applied as they are; the message says which and why."""


class SchemaBehind(Exception):
    """The database's schema is older than this release; run the migrations with the owner role."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(f"{self.__doc__} Missing: {', '.join(missing)}.")


_logger = logging.getLogger(__name__)


class Phase(StrEnum):
    EXPAND = "expand"
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    number: int
    name: str
    phase: Phase
    sql: str
    checksum: str
    """SHA-256 of the file; an applied file never changes."""


def load(directory: Path) -> list[Migration]:
    """Read the migrations of `directory` in order; raise `MigrationError` for a bad name, gap or first line."""
    migrations = []
    for number, path in enumerate(sorted(directory.glob("*.sql")), start=1):
        matched = FILE_NAME.fullmatch(path.name)
        if not matched or int(matched[1]) != number:
            raise MigrationError(f"{path.name}: migration {number} must be named {number:04}_….sql.")
        sql = path.read_text(encoding="utf-8")
        try:
            phase = Phase(sql.partition("\n")[0].removeprefix("-- ").strip())
        except ValueError:
            raise MigrationError(f"{path.name}: the first line must be `-- expand` or `-- contract`.") from None
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        migrations.append(Migration(number=number, name=matched[2], phase=phase, sql=sql, checksum=checksum))
    return migrations


async def migrate(owner_url: str, directory: Path, *, runtime_role: str, contract: bool = False) -> list[str]:
    """Apply what is pending in order, and return the names applied.

    Safe to run by several processes at once: one works, the others find nothing left. Without `contract` it stops
    quietly before a pending contraction, unless an expansion comes after it, which is refused. Raises `MigrationError`.
    """
    migrations = load(directory)
    await refuse_unfit(owner_url, needs_timeouts=False)
    connection = await connect_held(owner_url, application_name="migrate", bare=True)
    try:
        # Waiting for another process that migrates has no limit; waiting for a table has one.
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        await connection.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")
        async with connection.transaction():
            await connection.execute(RECORD)
            await connection.execute(_grants(runtime_role))
        pending = await _pending(connection, migrations)
        if not contract:
            pending = _before_contraction(pending)
        for migration in pending:
            await _apply(connection, migration, runtime_role=runtime_role)
    finally:
        await connection.close()
    return [migration.name for migration in pending]


async def wait_for_schema(engine: AsyncEngine, directory: Path, *, timeout_s: float) -> None:
    """Return once every expansion of `directory` is applied; a newer schema will do as well.

    Also waits for the database itself. Raises `SchemaBehind` after `timeout_s`, `DependencyUnavailable` if the
    database never answered, or `DatabaseUnfit` at once if it cannot be used.
    """
    wanted = {migration.number: migration.name for migration in load(directory) if migration.phase is Phase.EXPAND}
    deadline = time.monotonic() + timeout_s
    await wait_for_database(engine.url.render_as_string(hide_password=False), timeout_s=timeout_s)
    said = time.monotonic()
    while True:
        try:
            missing = [name for number, name in wanted.items() if number not in await _applied(engine)]
        except DependencyUnavailable:
            if time.monotonic() > deadline:
                raise
        else:
            if not missing:
                return
            if time.monotonic() > deadline:
                raise SchemaBehind(missing)
            if time.monotonic() - said >= SAY_EVERY_S:
                said = time.monotonic()
                _logger.warning("Waiting for the migration that runs beside us; missing: %s", ", ".join(missing))
        await asyncio.sleep(SCHEMA_POLL_S)


async def _applied(engine: AsyncEngine) -> set[int]:
    async with reading(engine) as connection:
        if await connection.scalar(sa.text("SELECT to_regclass('schema_migrations') IS NULL")):
            return set()
        return set(await connection.scalars(sa.text("SELECT number FROM schema_migrations")))


async def _pending(connection: asyncpg.Connection, migrations: list[Migration]) -> list[Migration]:
    rows = await connection.fetch("SELECT number, checksum FROM schema_migrations")
    applied = {row["number"]: row["checksum"] for row in rows}
    for migration in migrations:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise MigrationError(f"{migration.number:04}_{migration.name} was changed after it was applied.")
    return [migration for migration in migrations if migration.number not in applied]


def _before_contraction(pending: list[Migration]) -> list[Migration]:
    phases = [migration.phase for migration in pending]
    if Phase.CONTRACT not in phases:
        return pending
    first = phases.index(Phase.CONTRACT)
    if Phase.EXPAND in phases[first:]:
        blocked = f"{pending[first].number:04}_{pending[first].name}"
        raise MigrationError(f"{blocked} contracts and has expansions after it; it must be applied first.")
    return pending[:first]


async def _apply(connection: asyncpg.Connection, migration: Migration, *, runtime_role: str) -> None:
    sql = RUNTIME_ROLE.sub(lambda _: _quoted(runtime_role), migration.sql)
    try:
        async with connection.transaction():
            await connection.execute(sql)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, phase, checksum) VALUES ($1, $2, $3, $4)",
                migration.number,
                migration.name,
                migration.phase.value,
                migration.checksum,
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.number:04}_{migration.name}: {error}") from error


def _grants(runtime_role: str) -> str:
    """Give the runtime role every row and no schema, in tables to come too; the record of migrations it only reads."""
    role = _quoted(runtime_role)
    return f"""
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        GRANT USAGE ON SCHEMA public TO {role};
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {role};
        REVOKE ALL ON schema_migrations FROM {role};
        GRANT SELECT ON schema_migrations TO {role};
    """


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'

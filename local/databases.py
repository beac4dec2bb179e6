"""One database per service, each with its two roles, on any PostgreSQL from 15 on."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy.engine import make_url

from local.files import locked, write_private
from local.on_servers import ROLE_MARK, Mark
from local.place import PostgresError

ONE_AT_A_TIME: Final = "SELECT pg_advisory_lock(hashtext('batzen roles'))"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDatabase:
    """One service's database and its two roles. The URLs hold passwords."""

    name: str
    owner_url: str = field(repr=False)
    """Owns the schema; migrates, never serves."""
    runtime_url: str = field(repr=False)
    """Reads and writes rows; cannot change the schema."""


async def create_service_database(
    admin_url: str,
    name: str,
    *,
    passwords: Path,
    database: str | None = None,
    template: str | None = None,
    mark: Mark | None = None,
) -> ServiceDatabase:
    """Make the database `batzen_<name>` with the roles `…_owner` and `…_runtime`, or find them. Idempotent.

    Generated passwords are kept in the file `passwords` (0600) and set again on every call. `admin_url` needs CREATEDB
    and CREATEROLE, nothing more. Tests name another `database` and a `template` to copy; the roles stay the service's.
    With a `mark` it is only made, never found, unless it has the mark; so are its roles. Raises `PostgresError`.
    """
    owner, runtime = roles_of(name)
    database = database or f"batzen_{name}"
    secrets_of = _remembered_passwords(passwords, roles=(owner, runtime))
    url = make_url(admin_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        await connection.execute(ONE_AT_A_TIME)  # until the connection closes: a role is changed by one at once
        if mark is not None:
            await check_ours(connection, mark, databases=(database,), roles=(owner, runtime))
        for role in (owner, runtime):
            await _ensure_role(connection, role, password=secrets_of[role])
        # Whoever is no superuser must be a member of a role to make it an owner.
        await connection.execute(f"GRANT {_quoted(owner)} TO CURRENT_USER")
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            await _create(connection, database, owner=owner, template=template, mark=mark)
        await connection.execute(f"REVOKE ALL ON DATABASE {_quoted(database)} FROM PUBLIC")
        await connection.execute(f"GRANT CONNECT ON DATABASE {_quoted(database)} TO {_quoted(runtime)}")
    finally:
        await connection.close()

    def url_of(role: str) -> str:
        ours = url.set(drivername="postgresql+asyncpg", username=role, password=secrets_of[role], database=database)
        return ours.render_as_string(hide_password=False)

    return ServiceDatabase(name=database, owner_url=url_of(owner), runtime_url=url_of(runtime))


async def check_ours(
    connection: asyncpg.Connection, mark: Mark, *, databases: Sequence[str], roles: Sequence[str]
) -> None:
    """Raise `PostgresError` if one of these is there, and was made by somebody else."""
    for database in databases:
        if (there := await found_database(connection, database)) and not mark.is_in(there.comment):
            raise PostgresError(
                f"The database {database} is on that server, and was not made from here.\n"
                "Name another server, or drop it there if nobody needs it."
            )
    for role in roles:
        if (there := await found_role(connection, role)) and there.comment != ROLE_MARK:
            raise PostgresError(
                f"The role {role} is on that server, and was not made from here; its password would change.\n"
                "Name another server, or drop it there if nobody needs it."
            )


@dataclass(frozen=True, slots=True)
class Found:
    """A database or a role that is there, with its comment."""

    comment: str | None


async def found_database(connection: asyncpg.Connection, name: str) -> Found | None:
    """Return a database of a server."""
    query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1"
    row = await connection.fetchrow(query, name)
    return Found(row[0]) if row else None


async def found_role(connection: asyncpg.Connection, name: str) -> Found | None:
    """Return a role of a server."""
    query = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1"
    row = await connection.fetchrow(query, name)
    return Found(row[0]) if row else None


def roles_of(service: str) -> tuple[str, str]:
    """Return the names of a service's roles: the owner's, and the one that serves."""
    return f"batzen_{service}_owner", f"batzen_{service}_runtime"


async def _create(
    connection: asyncpg.Connection, database: str, *, owner: str, template: str | None, mark: Mark | None
) -> None:
    copied = f" TEMPLATE {_quoted(template)}" if template else ""
    if mark is None:
        with contextlib.suppress(asyncpg.DuplicateDatabaseError):  # another start was quicker
            await connection.execute(f"CREATE DATABASE {_quoted(database)} OWNER {_quoted(owner)}{copied}")
        return
    # A database cannot be made and marked in one transaction. So it has its name only once it is marked: a start that
    # dies in between leaves one whose name is the mark.
    unfinished = _quoted(mark.unfinished(database))
    await connection.execute(f"DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")
    await connection.execute(f"CREATE DATABASE {unfinished} OWNER {_quoted(owner)}{copied}")
    await connection.execute(f"COMMENT ON DATABASE {unfinished} IS '{mark.comment()}'")
    await connection.execute(f"ALTER DATABASE {unfinished} RENAME TO {_quoted(database)}")


async def _ensure_role(connection: asyncpg.Connection, role: str, *, password: str) -> None:
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
        with contextlib.suppress(
            asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError
        ):  # another start was quicker
            async with connection.transaction():
                await connection.execute(f"CREATE ROLE {_quoted(role)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
                await connection.execute(f"COMMENT ON ROLE {_quoted(role)} IS '{ROLE_MARK}'")
    # A statement like this takes no parameters; the password is ours and holds no quote.
    await connection.execute(f"ALTER ROLE {_quoted(role)} PASSWORD '{password}'")


def _remembered_passwords(path: Path, *, roles: Sequence[str]) -> dict[str, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        missing = [role for role in roles if role not in known]
        if missing:
            known |= {role: secrets.token_urlsafe(24) for role in missing}
            write_private(path, json.dumps(known, indent=2))
    return known


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'

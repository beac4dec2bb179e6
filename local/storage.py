"""The database server under a suite: the embedded one of a directory, or one that is given; and our databases on it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from local.databases import ServiceDatabase, check_ours, create_service_database, found_database, roles_of
from local.files import write_private
from local.on_servers import Mark, OnServer, identity_of
from local.personal_key import new_personal_key
from local.postgres import EmbeddedPostgres, PostgresError

CONNECT_TIMEOUT_S = 10.0
VERSION_MIN = 15
SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")

Migrate = Callable[[ServiceDatabase], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A PostgreSQL server on which our databases are `<prefix><service>`."""

    admin_url: str = field(repr=False)
    passwords: Path
    """Where the generated passwords of our roles are kept; one file per server, since roles are the server's."""
    prefix: str = "batzen_"
    on_server: OnServer | None = None
    """Where it is noted what of ours is on a server of one's own."""

    def personal_key(self) -> str:
        """Return what the keys of personal data in these databases are encrypted with, making it the first time."""
        return self._key("personal-key")

    def webhook_key(self) -> str:
        """Return what the secrets of webhooks in these databases are encrypted with, making it the first time."""
        return self._key("webhook-key")

    def _key(self, name: str) -> str:
        path = self.passwords.with_name(name)
        if not path.exists():
            write_private(path, new_personal_key())
        return path.read_text(encoding="utf-8")

    async def database(self, service: str, *, fresh: bool, migrations: Path, migrate: Migrate) -> ServiceDatabase:
        """Make the database of a service or find it, at its newest schema; `fresh` empties it.

        `migrate` is only called for a schema that was not seen here before: it is noted with the database which
        migrations it has, and an empty one is a copy of a template.
        """
        name, schema = f"{self.prefix}{service}", digest(migrations)
        template = f"{name}_template"
        if self.on_server is not None:
            await self._claim(self.on_server, databases=(name, template), roles=roles_of(service))
        if fresh:
            await self._drop(name)
            if not await self._has(template, schema):
                await self._drop(template)
                await self._migrated(service, template, schema, migrate)
            return await self._ensure(service, name, template=template)
        if not await self._has(name, schema):
            return await self._migrated(service, name, schema, migrate)
        return await self._ensure(service, name)

    async def _claim(self, there: OnServer, *, databases: Sequence[str], roles: Sequence[str]) -> None:
        """Note what will be made; raise `PostgresError` where it is there and was not made from here."""
        connection = await self._connect()
        try:
            await check_ours(connection, there.mark, databases=databases, roles=roles)
        finally:
            await connection.close()
        there.note(databases=databases, roles=roles)

    @property
    def _mark(self) -> Mark | None:
        return self.on_server.mark if self.on_server else None

    async def _ensure(self, service: str, name: str, *, template: str | None = None) -> ServiceDatabase:
        return await create_service_database(
            self.admin_url, service, passwords=self.passwords, database=name, template=template, mark=self._mark
        )

    async def _migrated(self, service: str, name: str, schema: str, migrate: Migrate) -> ServiceDatabase:
        database = await self._ensure(service, name)
        await migrate(database)
        await self._execute(f"COMMENT ON DATABASE \"{name}\" IS '{self._comment(schema)}'")
        return database

    async def _has(self, name: str, schema: str) -> bool:
        """Whether there is such a database, and it is noted with it that it has a schema."""
        connection = await self._connect()
        try:
            there = await found_database(connection, name)
        finally:
            await connection.close()
        return there is not None and there.comment == self._comment(schema)

    def _comment(self, schema: str) -> str:
        return self._mark.comment(schema) if self._mark else schema

    async def check(self) -> str:
        """Return what tells the server from another; raise `PostgresError` with what to do if it cannot be used."""
        scheme, separator, _ = self.admin_url.partition("://")
        if not separator or scheme not in SCHEMES:  # what follows may hold a password, and is not shown
            named = f"it begins with {scheme}://" if separator else "it has no ://"
            raise PostgresError(
                f"BATZEN_DATABASE_URL cannot be used: {named}.\nWrite it as postgresql://USER:PASSWORD@HOST:PORT/postgres."
            )
        try:
            connection = await self._connect()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ArgumentError) as error:
            raise PostgresError(f"BATZEN_DATABASE_URL cannot be used: {str(error) or type(error).__name__}") from error
        try:
            version = connection.get_server_version().major
            if version < VERSION_MIN:
                raise PostgresError(f"BATZEN_DATABASE_URL is a PostgreSQL {version}; {VERSION_MIN} or newer is needed.")
            return await identity_of(connection, self.admin_url)
        finally:
            await connection.close()

    async def _drop(self, name: str) -> None:
        await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await self._connect()
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _connect(self) -> asyncpg.Connection:
        url = make_url(self.admin_url).set(drivername="postgresql").render_as_string(hide_password=False)
        return await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)


async def check_server(server_url: str) -> str:
    """Return what tells a server of one's own from another; raise `PostgresError` if it cannot be used."""
    return await Storage(admin_url=server_url, passwords=Path()).check()


async def identity(directory: Path, *, server_url: str | None) -> str | None:
    """Return what tells the server under a suite from another; None where the embedded one has no data.

    Raises `PostgresError`.
    """
    if server_url is not None:
        return await check_server(server_url)
    return await asyncio.to_thread(EmbeddedPostgres(directory / "postgres").identity)


@asynccontextmanager
async def running_storage(directory: Path, *, server_url: str | None, prefix: str) -> AsyncIterator[Storage]:
    """Use the server at `server_url`, or run the embedded one in `directory` while inside. Raises `PostgresError`."""
    if server_url is not None:
        storage = Storage(admin_url=server_url, passwords=directory / "server-passwords.json", prefix=prefix)
        server = await storage.check()
        yield replace(storage, on_server=OnServer.at(directory, server_url, identity=server))
        return
    embedded = EmbeddedPostgres(directory / "postgres")
    starting = asyncio.ensure_future(asyncio.to_thread(embedded.start))
    try:
        await asyncio.shield(starting)
        yield Storage(admin_url=embedded.admin_url, passwords=directory / "passwords.json", prefix=prefix)
    finally:
        await asyncio.wait([starting])  # a thread cannot be canceled; what it started must be stopped
        await asyncio.to_thread(embedded.stop)


def digest(migrations: Path) -> str:
    """Return what the schema of a service depends on, in short."""
    content = hashlib.sha256()
    for path in sorted(migrations.glob("*.sql")):
        content.update(b"%s %d\n" % (path.name.encode(), path.stat().st_size))
        content.update(path.read_bytes())
    return content.hexdigest()

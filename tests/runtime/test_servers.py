"""Several servers behind one URL: one form everywhere, always the one that writes, and nothing waits for a dead one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from local.postgres import EmbeddedPostgres
from services.errors import DependencyUnavailable
from services.runtime.database.check import wait_for_database
from services.runtime.database.connections import (
    DirectConnections,
    connect_held,
    make_engine,
    ping,
    plain_dsn,
    role_of,
    transaction,
)
from services.runtime.database.migrations import migrate
from services.runtime.database.servers import NobodyWrites, database_url, place_of, servers_of
from services.runtime.process.service import OwnerSettings
from services.runtime.process.settings import SettingsError, settings_from
from tests.batzen.tcp_proxy import TcpProxy
from tests.conftest import enterable_folder
from tests.eventually import eventually
from tests.quick_postgres import quick_postgres

SEVERAL: Final = "postgresql+asyncpg://role:pass%40word@/batzen?host={}&port={}&target_session_attrs=read-write"
ROLE: Final = "pair"
PASSWORD: Final = "of_the_pair"
PORT_OF_SERVER: Final = "SELECT inet_server_port()"
WRITE: Final = "CREATE TABLE never ()"
QUICK_MS: Final = 4_000
"""As long as a test has to wait for a server that fell silent; a statement of a server that answers takes less."""
SAMPLE: Final = Path(__file__).parent / "migrations_sample"


# The form.


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("postgresql+asyncpg://role:word@db:6000/batzen", [("db", 6000)]),
        ("postgresql://role:word@db/batzen?sslmode=require", [("db", 5432)]),
        ("postgresql+asyncpg://role:word@[::1]:6000/batzen?target_session_attrs=read-write", [("::1", 6000)]),
        ("postgresql+asyncpg://role:word@/batzen?host=/run/postgresql", [("/run/postgresql", 5432)]),
        (SEVERAL.format("a,b,c", "1,2,3"), [("a", 1), ("b", 2), ("c", 3)]),
        (SEVERAL.format("a,b", "1,2").replace("&port=1,2", ""), [("a", 5432), ("b", 5432)]),
        (SEVERAL.format("a,b", "1,2").replace(",", "%2C"), [("a", 1), ("b", 2)]),
    ],
)
def test_servers_of_a_url(url: str, servers: list[tuple[str, int]]) -> None:
    assert servers_of(url) == servers
    assert database_url.parse(url) == url
    assert place_of(url) == ",".join(f"{host}:{port}" for host, port in servers) + "/batzen"
    assert role_of(url) == "role"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql+asyncpg://role:word@a:1,b:2/batzen?target_session_attrs=read-write", "after the @"),
        ("postgresql+asyncpg://role:word@a,b/batzen?target_session_attrs=read-write", "after the @"),
        (SEVERAL.format("a:1", "") + "&host=b:2", "repeats host="),
        (SEVERAL.format("a,b", "1") + "&port=2", "repeats port="),
        (SEVERAL.format("a:1,b:2", "1,2"), "its port with it"),
        (SEVERAL.format("a,b", "1"), "2 hosts and 1 ports"),
        (SEVERAL.format("a,b", "1,x"), "each host needs a port, a number"),
        (SEVERAL.format("a,", "1,2"), "empty"),
        (SEVERAL.format("a,b", "1,2").replace("@/", "@c/"), "names a host after the @ and another in host="),
        (SEVERAL.format("a,b", "1,65536"), "each host needs a port, a number"),
        ("postgresql+asyncpg://role:word@a/batzen?sslmode=required", "another sslmode than disable"),
        ("postgresql+asyncpg://role:word@c:5/batzen?port=6", "names a port after the @ and another in port="),
        (SEVERAL.format("a,b", "1,2").replace("read-write", "any"), "lacks target_session_attrs=read-write"),
        ("postgresql+asyncpg://role:word@/batzen?host=a,b&port=1,2", "lacks target_session_attrs=read-write"),
        ("postgresql+asyncpg://role:word@a/batzen?target_session_attrs=standby", "lacks target_session_attrs"),
        ("mysql://role:word@a/batzen", "does not begin with postgresql"),
        ("word", "is not postgresql"),
        ("postgresql+asyncpg://role:word@a:port/batzen", "is not postgresql"),
    ],
)
def test_a_form_that_would_work_in_half_of_a_service_is_refused_by_name(url: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        settings_from({"BATZEN_OWNER_DATABASE_URL": url, "BATZEN_RUNTIME_DATABASE_URL": url}, OwnerSettings.read)

    assert [one.split()[0] for one in caught.value.problems] == [
        "BATZEN_OWNER_DATABASE_URL", "BATZEN_RUNTIME_DATABASE_URL",
    ]  # fmt: skip
    assert "word@" not in str(caught.value)


# Who is connected to.


class Pair:
    """Two servers with the same role, behind proxies of ours, and the URL of both."""

    def __init__(self, first: EmbeddedPostgres, second: EmbeddedPostgres, proxies: tuple[TcpProxy, TcpProxy]) -> None:
        self._first = first
        self.proxies = proxies
        self.ports = (first.port, second.port)
        ports = ",".join(str(proxy.port) for proxy in proxies)
        self.url = (
            f"postgresql+asyncpg://{ROLE}:{PASSWORD}@/postgres"
            f"?host=127.0.0.1,127.0.0.1&port={ports}&target_session_attrs=read-write"
        )

    async def prepare(self, *statements: str) -> None:
        """Carry out statements on the first, as its administrator."""
        for statement in statements:
            await _execute(self._first.admin_url, statement)

    async def says(self, query: str, value: object) -> bool:
        """Whether the first answers so."""
        admin = await asyncpg.connect(self._first.admin_url)
        try:
            return bool(await admin.fetchval(query) == value)
        finally:
            await admin.close()

    async def demote_first(self, *, demoted: bool = True) -> None:
        """Have the first refuse writes from now on, on the connections there are, too; or take them again."""
        setting = "on" if demoted else "off"
        await self.prepare(f"ALTER SYSTEM SET default_transaction_read_only = {setting}", "SELECT pg_reload_conf()")
        await eventually(lambda: self.says("SHOW default_transaction_read_only", setting))


@pytest.fixture(scope="module")
async def roles(
    postgres: EmbeddedPostgres,
) -> AsyncIterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """A server of this module's and everybody's, with one role on both."""
    with enterable_folder() as folder, quick_postgres(folder / "postgres") as first:
        for server in (first, postgres):
            await _execute(server.admin_url, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        yield first, postgres
    await _execute(postgres.admin_url, f"DROP ROLE {ROLE}")


@pytest.fixture
async def pair(roles: tuple[EmbeddedPostgres, EmbeddedPostgres]) -> AsyncIterator[Pair]:
    first, second = roles
    async with TcpProxy.to(first.port) as before_first, TcpProxy.to(second.port) as before_second:
        pair = Pair(first, second, (before_first, before_second))
        yield pair
        await pair.demote_first(demoted=False)


async def _execute(url: str, statement: str) -> None:
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(statement)
    finally:
        await admin.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Where connections are taken, and nobody says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def port_of(url: str) -> int:
    """Connect as whoever keeps a connection does, and return the port of the server behind it."""
    connection = await connect_held(url, application_name="test")
    try:
        return int(await connection.fetchval(PORT_OF_SERVER))
    finally:
        await connection.close()


async def held_port(held: DirectConnections) -> int:
    async with held.statement(None) as connection:
        return int(await connection.fetchval(PORT_OF_SERVER))


async def pool_port(engine: AsyncEngine) -> int:
    async with transaction(engine, "book.store") as connection:
        return int((await connection.exec_driver_sql(PORT_OF_SERVER)).scalar_one())


async def test_everything_that_connects_goes_to_the_first_that_writes(pair: Pair) -> None:
    engine = make_engine(pair.url, application_name="test")
    async with DirectConnections(pair.url, application_name="test", size=1) as held:
        await wait_for_database(pair.url, timeout_s=0)
        assert await pool_port(engine) == await held_port(held) == await port_of(pair.url) == pair.ports[0]
    await engine.dispose()
    tool = await asyncpg.connect(plain_dsn(pair.url))
    assert await tool.fetchval(PORT_OF_SERVER) == pair.ports[0]
    await tool.close()


async def test_a_demoted_leader_is_unavailable_once_and_all_go_to_the_next(pair: Pair) -> None:
    engine = make_engine(pair.url, application_name="test", pool_size=2)
    async with DirectConnections(pair.url, application_name="test", size=2) as held:
        for of_two in (held_port(held), held_port(held)), (pool_port(engine), pool_port(engine)):
            assert await asyncio.gather(*of_two) == [pair.ports[0]] * 2
        await pair.demote_first()

        with pytest.raises(DependencyUnavailable):
            async with held.statement("book.store") as connection:
                await connection.execute(WRITE)
        with pytest.raises(DependencyUnavailable):
            await _write(engine)

        assert await asyncio.gather(held_port(held), held_port(held)) == [pair.ports[1]] * 2
        assert await asyncio.gather(pool_port(engine), pool_port(engine)) == [pair.ports[1]] * 2
        assert await port_of(pair.url) == pair.ports[1]
    await engine.dispose()


async def _write(engine: AsyncEngine) -> None:
    async with transaction(engine, "book.store") as connection:
        await connection.exec_driver_sql(WRITE)


async def test_while_nobody_writes_the_database_is_unavailable(pair: Pair) -> None:
    await pair.demote_first()
    pair.proxies[1].close()
    engine = make_engine(pair.url, application_name="test")

    with pytest.raises(NobodyWrites):
        await port_of(pair.url)
    with pytest.raises(DependencyUnavailable):
        await ping(engine)
    with pytest.raises(DependencyUnavailable):
        await wait_for_database(pair.url, timeout_s=0)
    async with DirectConnections(pair.url, application_name="test", size=1) as held:
        with pytest.raises(DependencyUnavailable):
            await held_port(held)

        pair.proxies[1].lead_to(pair.ports[1])
        assert await held_port(held) == pair.ports[1]
    await ping(engine)
    await engine.dispose()


async def test_a_leader_that_falls_silent_is_left_by_all_its_connections_at_once(pair: Pair, silent_port: int) -> None:
    engine = make_engine(pair.url, application_name="test", pool_size=2, statement_timeout_ms=QUICK_MS)
    async with DirectConnections(pair.url, application_name="test", size=2, statement_timeout_ms=QUICK_MS) as held:
        await asyncio.gather(held_port(held), held_port(held), pool_port(engine), pool_port(engine))
        pair.proxies[0].fall_silent()
        pair.proxies[0].lead_to(silent_port)

        both = await asyncio.gather(held_port(held), pool_port(engine), return_exceptions=True)
        assert [type(one) for one in both] == [DependencyUnavailable] * 2

        assert await asyncio.gather(held_port(held), held_port(held)) == [pair.ports[1]] * 2
        assert await asyncio.gather(pool_port(engine), pool_port(engine)) == [pair.ports[1]] * 2
        await ping(engine)  # which waits for less long than a connection may take
    await engine.dispose()


async def test_a_commit_that_no_standby_has_is_seen_by_nobody_when_its_caller_gives_up(pair: Pair) -> None:
    """PostgreSQL ends such a wait when the statement is canceled: a repeat would be answered with what may be lost."""
    await pair.prepare("CREATE TABLE facts (fact text)", f"GRANT ALL ON facts TO {ROLE}")
    engine = make_engine(pair.url, application_name="test")
    async with DirectConnections(pair.url, application_name="test", size=2) as held:
        assert await asyncio.gather(held_port(held), pool_port(engine)) == [pair.ports[0]] * 2
        await pair.prepare("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
        await eventually(lambda: pair.says("SHOW synchronous_standby_names", "nobody"))

        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        for number, write in enumerate((_note(held), _note_in(engine)), 1):
            caller = asyncio.ensure_future(write)
            await eventually(lambda number=number: pair.says(waiting, number))  # type: ignore[misc]
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller

        await eventually(lambda: pair.says(waiting, 2))  # were they canceled, they would wait no more
        assert await pair.says("SELECT count(*) FROM facts", 0)

        await pair.prepare("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
        await eventually(lambda: pair.says("SELECT count(*) FROM facts", 2))
        assert await asyncio.gather(held_port(held), pool_port(engine)) == [pair.ports[0]] * 2
    await engine.dispose()


async def _note(held: DirectConnections) -> None:
    async with held.statement("book.store") as connection:
        await connection.execute("INSERT INTO facts VALUES ('held')")


async def _note_in(engine: AsyncEngine) -> None:
    async with transaction(engine, "book.store") as connection:
        await connection.exec_driver_sql("INSERT INTO facts VALUES ('pool')")


async def test_what_a_server_has_against_us_is_told_before_that_another_is_away(pair: Pair) -> None:
    pair.proxies[0].close()

    with pytest.raises(asyncpg.InvalidPasswordError):
        await port_of(pair.url.replace(PASSWORD, "guessed"))


async def test_a_migration_goes_to_the_server_that_writes(pair: Pair) -> None:
    await pair.demote_first()

    with pytest.raises(asyncpg.InsufficientPrivilegeError):  # of a role that owns nothing, where it may write at all
        await migrate(pair.url, SAMPLE, runtime_role=ROLE)

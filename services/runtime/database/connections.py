"""Connections to PostgreSQL, and the only place where a transaction is begun or committed.

Whatever keeps the database from answering (it restarts, is full, took too long) becomes `DependencyUnavailable`, which
a caller may send again; everything else is the statement's own fault and passes through. Connections that a restart
broke are found before their next use, without a round trip, and made again; those to a server that was demoted, or
that says nothing any more, are given up all at once, so that the next ones go to whoever leads now (`servers.py`).

A database's address, with the password in it, may be followed: whoever connects asks for it as it is then. What is
connected stays connected. While a password is being replaced, its file and the server change at different moments; so a
login that is refused is tried again by the address that the file had before, if that names the same database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

import asyncpg
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.errors import DependencyUnavailable
from services.runtime import crash_points
from services.runtime.database.servers import connect_writing, place_of
from services.runtime.observability.metrics import Tally
from services.runtime.observability.process_metrics import Occupancy
from services.runtime.observability.spans import NOTHING, span
from services.runtime.observability.tracing import Kind, Value
from services.runtime.process.followed import Followed

POOL_SIZE = 10
"""Connections per process. More commit no faster on one primary, and 200 must do for all processes and a rollout."""
POOL_WAIT_S = 3.0
"""For a free connection; longer means overload, and the caller should be refused while its deadline still runs."""
CONNECT_TIMEOUT_S = 3.0
STATEMENT_TIMEOUT_MS = 5_000
"""No statement of ours takes 100 ms; this ends one whose plan or lock went wrong before the caller's deadline does."""
LOCK_TIMEOUT_MS = 3_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
"""A process that hangs inside a transaction must not hold its locks."""
COMMAND_GRACE_S = 1.0
"""How long after PostgreSQL's own timeout we give up on a connection from which nothing comes at all."""
PING_TIMEOUT_S = 1.0

UNAVAILABLE_STATES = (
    "08",  # connection exceptions
    "53",  # out of connections, memory or disk
    "57P",  # shut down, crashed, starting
    "57014",  # statement_timeout
    "55P03",  # lock_timeout
    "28",  # a login refused: the password is being replaced, and was good at the start
    "25006",  # a server that only reads: it was demoted, or is about to be promoted
    "25P03",  # idle in transaction for too long
    "40001",  # serialisation failure
    "40P01",  # deadlock
)
"""Prefixes of SQLSTATE after which the same call may succeed; in each of them the transaction is gone."""

DEMOTED_STATE = "25006"
"""What a server says that only reads to whoever writes."""

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything asyncpg raises when a server goes away under it."""

UNAVAILABLE = Tally()
"""How often the database was away or too busy for who used it."""

DatabaseUrl = str | Followed[str]
"""`postgresql+asyncpg://…`, as it is or as it is now."""

_AFTER_COMMIT = "batzen.after_commit"


def make_engine(
    url: DatabaseUrl,
    *,
    application_name: str,
    pool_size: int = POOL_SIZE,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
) -> AsyncEngine:
    """Return an engine for `postgresql+asyncpg://…`. Nothing connects yet; `dispose` it at the end."""
    engine = create_async_engine(
        url if isinstance(url, str) else url.current(),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        hide_parameters=True,  # they hold what nobody should read in a log
        async_creator=partial(
            connect_held,
            url,
            application_name=application_name,
            statement_timeout_ms=statement_timeout_ms,
            lock_timeout_ms=lock_timeout_ms,
        ),
    )
    sa.event.listen(engine.sync_engine, "checkout", _refuse_broken)
    sa.event.listen(engine.sync_engine, "handle_error", _give_up)
    return engine


async def ping(engine: AsyncEngine) -> None:
    """Ask the database for an answer within `PING_TIMEOUT_S`; raise `DependencyUnavailable` if there is none."""
    with unavailable_as_service_error():
        async with asyncio.timeout(PING_TIMEOUT_S), engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))


@asynccontextmanager
async def transaction(engine: AsyncEngine, point: str) -> AsyncIterator[AsyncConnection]:
    """Commit what the block does, or none of it if it raises.

    `point` names the crash positions `:begin`, `:before_commit` and `:after_commit`. Raises `DependencyUnavailable`
    when the database is away; if that happens at the commit, the outcome is unknown and the same call settles it.
    """
    with unavailable_as_service_error(), _span(point):
        async with engine.connect() as connection:
            waiting: list[Callable[[], None]] = []
            facts = connection.info  # asked for once: on a connection found broken it would connect again
            facts[_AFTER_COMMIT] = waiting
            try:
                async with connection.begin():
                    crash_points.reach(f"{point}:begin")
                    yield connection
                    crash_points.reach(f"{point}:before_commit")
            finally:
                facts.pop(_AFTER_COMMIT, None)
            crash_points.reach(f"{point}:after_commit")
            for act in waiting:
                act()


def _span(point: str | None) -> AbstractContextManager[dict[str, Value] | None]:
    """What commits is a span; a read is not, since it leaves nothing and there are many."""
    if point is None:
        return NOTHING
    return span(f"commit {point}", Kind.CLIENT, {"db.system.name": "postgresql", "db.operation.name": point})


def after_commit(connection: AsyncConnection, act: Callable[[], None]) -> None:
    """Call `act` once the transaction of `connection` has committed, and never if it does not.

    Raises RuntimeError outside of `transaction`: what is written there would commit by itself.
    """
    waiting = connection.info.get(_AFTER_COMMIT)
    if waiting is None:
        raise RuntimeError("This needs a connection inside of database.transaction.")
    waiting.append(act)


@asynccontextmanager
async def reading(engine: AsyncEngine, *, snapshot: bool = False) -> AsyncIterator[AsyncConnection]:
    """Yield a connection for reads, each its own statement, or all of one instant with `snapshot`.

    Without `snapshot` a read is one round trip instead of three; what the block writes is committed at once, so it
    must not write.
    """
    level = "REPEATABLE READ" if snapshot else "AUTOCOMMIT"
    with unavailable_as_service_error():
        async with engine.connect() as connection:
            yield await connection.execution_options(isolation_level=level)


class DirectConnections:
    """At most `size` asyncpg connections for a path where a pool's reset between uses would cost more than the work.

    They connect at their first use and reconnect after they were lost. Whoever uses one leaves it as it was found:
    no session settings, no open transaction.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        application_name: str,
        size: int,
        statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    ) -> None:
        self._connect = partial(
            connect_held,
            url,
            application_name=application_name,
            statement_timeout_ms=statement_timeout_ms,
            lock_timeout_ms=lock_timeout_ms,
        )
        self._size = size
        self._room = asyncio.Semaphore(size)
        self._entered = 0
        self._waiting = 0
        self._free: list[asyncpg.Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        while self._free:
            await self._free.pop().close(timeout=CONNECT_TIMEOUT_S)

    def occupancy(self) -> Occupancy:
        """Say how the connections are used."""
        return Occupancy(busy=self._entered, idle=len(self._free), waiting=self._waiting, size=self._size)

    @asynccontextmanager
    async def transaction(self, point: str) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection for statements that commit together, or none of them if the block raises.

        Its crash positions are those of `statement`, and `:written` before the commit.
        """
        async with self.statement(point) as connection, connection.transaction():
            yield connection
            crash_points.reach(f"{point}:written")

    @asynccontextmanager
    async def statement(self, point: str | None) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection for one statement, which commits by itself.

        Its crash positions are those of a `transaction`; None for a read, which leaves nothing that could be half done.
        Raises `DependencyUnavailable` as a `transaction` does.
        """
        with unavailable_as_service_error(), _span(point):
            await self._enter()
            self._entered += 1
            try:
                connection = await self._connection()
                if point is not None:
                    crash_points.reach(f"{point}:before_commit")
                try:
                    yield connection
                except asyncio.CancelledError:
                    connection.terminate()  # before asyncpg cancels the statement: see _give_up
                    raise
                except (TimeoutError, asyncpg.ReadOnlySQLTransactionError):
                    # Nothing comes from its server any more, or it leads no more: that is true of the others, too.
                    connection.terminate()
                    while self._free:
                        self._free.pop().terminate()
                    raise
                finally:
                    if not connection.is_closed():
                        self._free.append(connection)
                if point is not None:
                    crash_points.reach(f"{point}:after_commit")
            finally:
                self._entered -= 1
                self._room.release()

    async def _enter(self) -> None:
        if not self._room.locked():  # no timer where nobody waits
            await self._room.acquire()
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(POOL_WAIT_S):
                await self._room.acquire()
        finally:
            self._waiting -= 1

    async def _connection(self) -> asyncpg.Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        try:
            return await self._connect()
        except asyncpg.PostgresError as error:
            # Whatever a server says to who connects (a password that is being replaced, a right that was taken for a
            # while, too many connections) is said of now: no loop ends for it, and the next call asks again.
            UNAVAILABLE.add()
            raise DependencyUnavailable(dependency="database") from error


async def connect_held(
    url: DatabaseUrl,
    *,
    application_name: str,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    bare: bool = False,
) -> asyncpg.Connection:
    """Connect to the server that takes writes, for whoever keeps the connection to itself; `bare` sends no settings."""
    arguments: dict[str, Any] = {}
    if not bare:
        arguments = _connect_arguments(
            application_name=application_name,
            statement_timeout_ms=statement_timeout_ms,
            lock_timeout_ms=lock_timeout_ms,
        )
    now, *before = (url,) if isinstance(url, str) else url.candidates()
    # Never another database: what is written there would be missed in the one that the file names.
    before = [one for one in before if place_of(one) == place_of(now)]
    for one in (now, *before) if before else ():
        with suppress(asyncpg.InvalidAuthorizationSpecificationError):
            return await connect_writing(one, timeout_s=CONNECT_TIMEOUT_S, **arguments)
    # Once more: the server may have changed between the two.
    return await connect_writing(now, timeout_s=CONNECT_TIMEOUT_S, **arguments)


@contextmanager
def unavailable_as_service_error() -> Iterator[None]:
    """Turn whatever says "the database is away" into `DependencyUnavailable`; leave the rest as it is."""
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError, *DRIVER_ERRORS) as error:
        if is_unavailable(error):
            UNAVAILABLE.add()
            raise DependencyUnavailable(dependency="database") from error
        raise


def is_unavailable(error: BaseException) -> bool:
    """Whether `error` says that the database is away or too busy, so that the same call may succeed later."""
    if isinstance(error, sa.exc.TimeoutError | OSError):  # no free connection; refused, reset or timed out
        return True
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return True
    driver = driver_error(error)
    if isinstance(driver, asyncpg.InterfaceError):  # also raised for our own misuse of a connection, which is a bug
        return "closed" in str(driver)
    if isinstance(driver, asyncpg.InternalClientError):
        # The server's last word was read and the end of the connection not yet: asyncpg's state 2 waits for it.
        return "another operation (2) is in progress" in str(driver)
    return str(getattr(driver, "sqlstate", None)).startswith(UNAVAILABLE_STATES)


def violated_constraint(error: BaseException) -> str | None:
    """Return the name of the constraint or unique index that `error` says was violated, if it says so."""
    name: str | None = getattr(driver_error(error), "constraint_name", None)
    return name


def driver_error(error: BaseException) -> BaseException:
    """Return asyncpg's own error behind SQLAlchemy's."""
    if isinstance(error, sa.exc.DBAPIError):
        return error.driver_exception or error
    return error


def plain_dsn(url: str) -> str:
    """Return `url` as asyncpg wants it, without SQLAlchemy's driver name. Holds the password."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def role_of(url: str) -> str:
    """Return the name of the role that `url` connects as."""
    role = make_url(url).username
    if not role:
        raise ValueError("The database URL names no role.")
    return role


def _connect_arguments(*, application_name: str, statement_timeout_ms: int, lock_timeout_ms: int) -> dict[str, Any]:
    return {
        "command_timeout": statement_timeout_ms / 1_000 + COMMAND_GRACE_S,
        "server_settings": {
            "application_name": application_name,
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": str(lock_timeout_ms),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            "timezone": "UTC",
        },
    }


def _refuse_broken(adapted: Any, *_: object) -> None:
    """Make the pool replace a connection whose end asyncpg has already seen."""
    if adapted.driver_connection.is_closed():
        raise sa.exc.DisconnectionError


def _give_up(context: sa.engine.ExceptionContext) -> None:
    """Have the pool make its connections again once a server says that it leads no more, or says nothing.

    A statement that nobody waits for any more is left to end by itself. asyncpg would have the server cancel it, which
    ends a commit's wait for its standbys, too: the commit is seen from then on, a repeat is answered with it, and if
    the leader dies, what was acknowledged is gone.
    """
    error = context.original_exception
    connection = context.connection
    if (
        isinstance(error, TimeoutError | asyncio.CancelledError)
        and connection is not None
        and not connection.invalidated
    ):
        driver: Any = connection.connection.driver_connection
        driver.terminate()
    if isinstance(error, TimeoutError) or getattr(error, "sqlstate", None) == DEMOTED_STATE:
        context.is_disconnect = context.invalidate_pool_on_disconnect = True

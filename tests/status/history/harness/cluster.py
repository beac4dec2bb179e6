"""Several replicas of status on one database, each a process; what may happen to them; and the network before them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg

from batzen._channel import make_channel
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from local.databases import ServiceDatabase
from local.environments import Stripe, service_environment
from local.issuer import Issuer
from local.ports import HOST, free_ports
from local.processes import Child
from services.runtime.database.connections import plain_dsn
from tests.conftest import Databases
from tests.status.history.harness.link import Link
from tests.status.restarts import RestartablePostgres

REPLICAS: Final = 3
CALL_TIMEOUT_S: Final = 2.0
IMPATIENT: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_reconnect_backoff_ms", 500),  # a run has no time for more
    ("grpc.min_reconnect_backoff_ms", 500),
)
DATABASE_IS_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection that was lost while it was set up
)
ADMIN_TRIES: Final = 200
ADMIN_PAUSE_S: Final = 0.1
EVERYDAY: Final = frozenset({"DEBUG", "INFO", "WARNING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """How some callers reach one replica."""

    replica: int
    link: Link
    stub: StatusServiceStub
    """As the orchestrator."""


class Cluster:
    """Running replicas."""

    def __init__(
        self, *, postgres: RestartablePostgres, database: ServiceDatabase, children: Sequence[Child], issuer: Issuer
    ) -> None:
        self.postgres = postgres
        self.database = database
        self.issuer = issuer
        self._children = children
        self._busy = [asyncio.Lock() for _ in children]
        self._database_busy = asyncio.Lock()

    @property
    def token(self) -> str:
        """Return the orchestrator's."""
        return self.issuer.mint("orchestrator", roles={"service"})

    @property
    def size(self) -> int:
        return len(self._children)

    async def kill(self, replica: int, *, away_s: float) -> None:
        """End a replica as a crash does, and start it again."""
        async with self._busy[replica]:
            await self._children[replica].kill()
            await asyncio.sleep(away_s)
            await self.start(replica)

    async def drain(self, replica: int, *, away_s: float) -> None:
        """End a replica as an update does, and start it again."""
        async with self._busy[replica]:
            code = await self._children[replica].stop()
            assert code == 0, f"a drained replica ended with {code}"
            await asyncio.sleep(away_s)
            await self.start(replica)

    async def freeze(self, replica: int, *, lasts_s: float) -> None:
        """Stop a replica where it stands, and let it go on as if nothing had been."""
        async with self._busy[replica]:
            pid = self._children[replica].pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(lasts_s)
            finally:
                os.kill(pid, signal.SIGCONT)

    async def crash_database(self) -> None:
        """Kill one process of the database: all others end too, and it recovers from its log."""
        async with self._database_busy:
            async with self.admin() as connection:
                os.kill(connection.get_server_pid(), signal.SIGKILL)
            await asyncio.sleep(ADMIN_PAUSE_S)
            async with self.admin():  # told to stop while it recovers, a server would take its time
                pass

    async def restart_database(self, *, away_s: float) -> None:
        """Stop the database in order, and start it again."""
        async with self._database_busy:
            await asyncio.to_thread(self.postgres.stop)
            await asyncio.sleep(away_s)
            await asyncio.to_thread(self.postgres.start)

    async def cut_backends(self, *, share: float, chance: random.Random) -> int:
        """End a share of the replicas' connections to the database, if it is there; return how many."""
        chosen: list[int] = []
        async with self.admin() as connection:
            with suppress(*DATABASE_IS_AWAY):
                rows = await connection.fetch(
                    "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'status%'",
                    self.database.name,
                )
                chosen = [row["pid"] for row in rows if chance.random() < share]
                await connection.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", chosen)
        return len(chosen)

    async def settled_xid(self) -> int:
        """Return a transaction below which all have ended; 0 if the database does not say so now."""
        with suppress(*DATABASE_IS_AWAY):
            async with asyncio.timeout(1), self.admin() as connection:
                return int(await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text"))
        return 0

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[asyncpg.Connection]:
        """Connect to the database as its owner's master, as soon as it lets us."""
        dsn = plain_dsn(self.postgres.server.admin_url).rpartition("/")[0] + f"/{self.database.name}"
        for _ in range(ADMIN_TRIES):
            try:
                connection = await asyncpg.connect(dsn)
            except DATABASE_IS_AWAY:
                await asyncio.sleep(ADMIN_PAUSE_S)
                continue
            try:
                yield connection
            finally:
                connection.terminate()
            return
        raise AssertionError("the database did not come back")

    async def is_whole(self) -> None:
        """Wait until every replica runs and the database too."""
        async with self._database_busy:
            pass
        for lock in self._busy:
            async with lock:
                pass

    def complaints(self) -> list[str]:
        """Return what the replicas' logs say of errors of their own, and what is no line of a log."""
        lines = []
        for child in self._children:
            for line in child.log_file.read_text(errors="replace").splitlines():
                if line.startswith("I"):  # of gRPC's own
                    continue
                with suppress(ValueError, KeyError, TypeError):
                    if json.loads(line)["level"] in EVERYDAY:
                        continue
                lines.append(f"{child.name}: {line}")
        return lines

    @asynccontextmanager
    async def roads(self, *, options: Sequence[tuple[str, int]] = ()) -> AsyncIterator[list[Road]]:
        """Open a connection of its own to each replica, through a link of its own."""
        metadata = (("authorization", f"Bearer {self.token}"),)
        async with AsyncExitStack() as stack:
            roads = []
            for index, child in enumerate(self._children):
                port = int(child.environment["BATZEN_LISTEN"].rpartition(":")[2])
                link = await stack.enter_async_context(Link.to(port))
                channel = await stack.enter_async_context(
                    make_channel(
                        f"{HOST}:{link.port}",
                        timeout_s=CALL_TIMEOUT_S,
                        metadata=lambda: metadata,
                        options=(*IMPATIENT, *options),
                    )
                )
                roads.append(Road(replica=index, link=link, stub=StatusServiceStub(channel)))
            yield roads

    async def start(self, replica: int) -> None:
        child = self._children[replica]
        await child.start()
        await child.until_serving(child.environment["BATZEN_HEALTH_LISTEN"])


@asynccontextmanager
async def running_cluster(folder: Path, *, replicas: int) -> AsyncIterator[Cluster]:
    """Run replicas of status on a database server of their own, which dates its commits, while inside."""
    with RestartablePostgres(folder / "postgres") as postgres:
        await _date_commits(postgres)
        database = await Databases(postgres.server, folder=folder).create("status")
        issuer = Issuer(folder / "issuer", now=partial(datetime.now, UTC))
        issuer.write_service_tokens(folder / "tokens", services=("status",))
        ports = free_ports()
        environment = service_environment(
            "status",
            ports=ports,
            database=database,
            jwks=issuer.jwks,
            tokens=folder / "tokens",
            stripe=Stripe.stand_in(),
        )
        free = iter(ports.values())
        children = [
            Child(
                "services.status",
                name=f"replica {index}",
                environment=environment
                | {
                    "BATZEN_LISTEN": f"{HOST}:{next(free)}",
                    "BATZEN_HEALTH_LISTEN": f"{HOST}:{next(free)}",
                    "BATZEN_METRICS_LISTEN": f"{HOST}:{next(free)}",
                },
                log_file=folder / f"replica-{index}.log",
            )
            for index in range(replicas)
        ]
        cluster = Cluster(postgres=postgres, database=database, children=children, issuer=issuer)
        try:
            await asyncio.gather(*(cluster.start(index) for index in range(replicas)))
            yield cluster
        finally:
            await asyncio.gather(*(child.stop() for child in children))


async def _date_commits(postgres: RestartablePostgres) -> None:
    connection = await asyncpg.connect(plain_dsn(postgres.server.admin_url))
    try:
        await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    finally:
        await connection.close()
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.start)

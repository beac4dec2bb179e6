"""Builds status and runs it.

`python -m services.status` serves; with `migrate` it migrates; with `maintain`, to be run every month or more often, it
makes the months of history to come and takes out those that are old.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.status.v1.status_pb2_grpc import add_StatusServiceServicer_to_server
from services.access import TABLE
from services.runtime.database.connections import DatabaseUrl, DirectConnections, make_engine
from services.runtime.database.engine_pool import EnginePool
from services.runtime.database.migrations import wait_for_schema
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import show_pools
from services.runtime.process.lifecycle import until_terminated, utc_now
from services.runtime.process.program import Command, Program
from services.runtime.process.service import SCHEMA_WAIT_S, OwnerSettings, ProcessSettings
from services.runtime.process.settings import Reader, whole_number
from services.runtime.rpc.access import admit
from services.runtime.rpc.identity import Caller
from services.runtime.rpc.limits import Limits
from services.status.changes.followers import Followers
from services.status.changes.log import ChangeLog, check_order
from services.status.imports.store import ImportStore
from services.status.listing.listing import PaymentList
from services.status.metrics import FEED_BEHIND, StatusMetrics
from services.status.servicer import StatusServicer
from services.status.storage.retention import HISTORY_MONTHS, maintain
from services.status.storage.store import StatusStore
from services.status.transitions.recorder import Recorder
from services.status.watches.hints import Hints
from services.status.watches.hub import WatchHub
from services.status.watches.presence import HELLO_EVERY_S
from services.status.watches.send_queue import StreamLimits

SERVICE: Final = "status"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
WATCH_MANY: Final = "/batzen.status.v1.StatusService/WatchMany"
DIRECT_CONNECTIONS: Final = 8
"""For transitions and reads of one payment, a statement of less than a millisecond each."""
STREAM_LIMITS: Final = StreamLimits()
LIMITS: Final = Limits(
    streams_per_connection_max=256,  # a caller comes to its streams with ten connections
    streams_per_caller_max=2_048,  # a service watches for all its users; ~50 KB each
    # A stream ends itself, with the revision to resume from, before its aged connection is cut.
    connection_age_grace_s=STREAM_LIMITS.stream_age_max_s + 60.0,
)


def read_settings(read: Reader) -> ProcessSettings:
    """Read the settings."""
    return ProcessSettings.read(read, listen="127.0.0.1:7003")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceSettings:
    """What is needed to look after the months of history."""

    owner: OwnerSettings
    history_months: int

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(
            owner=OwnerSettings.read(read),
            history_months=read(
                "BATZEN_HISTORY_MONTHS",
                whole_number(at_least=1, at_most=1_200),
                default=HISTORY_MONTHS,
                doc="How many months of history are kept of payments that are settled.",
            ),
        )


@asynccontextmanager
async def status_servicer(
    database_url: DatabaseUrl,
    *,
    engine: AsyncEngine,
    verify: Callable[[str], Awaitable[Caller]],
    draining: asyncio.Event,
    now: Callable[[], datetime],
    limits: StreamLimits = STREAM_LIMITS,
    hello_every_s: float = HELLO_EVERY_S,
    meter: Meter = OFF,
) -> AsyncIterator[StatusServicer]:
    """Build the service on its database; its streams are fed while inside. `verify` knows tokens of end users."""
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(
            DirectConnections(database_url, application_name=SERVICE, size=DIRECT_CONNECTIONS)
        )
        show_pools(meter, held, EnginePool(engine))
        store = StatusStore(held)
        hints = Hints(database_url, application_name=SERVICE, hello_every_s=hello_every_s)
        metrics = StatusMetrics(meter, now=now)
        hub = WatchHub(store, announce=hints.announce, draining=draining, limits=limits, metrics=metrics)
        log = ChangeLog(engine)
        followers = Followers(log)
        behind = meter.gauge(FEED_BEHIND)
        meter.read_when_asked(lambda: behind.set(followers.behind_s()))

        def hear(tenant_id: str, payment_id: str) -> None:
            hub.hint(tenant_id, payment_id)
            followers.wake(tenant_id)

        def missed() -> None:
            hub.resync()
            followers.wake_all()

        def unannounced() -> None:
            hub.look_again()
            followers.wake_all()

        await stack.enter_async_context(hub.running())
        await stack.enter_async_context(followers.running())
        await stack.enter_async_context(hints.running(hear=hear, missed=missed, unannounced=unannounced))
        yield StatusServicer(
            store=store,
            recorder=Recorder(held, metrics=metrics),
            imports=ImportStore(held),
            payments=PaymentList(engine),
            log=log,
            hub=hub,
            followers=followers,
            verify=verify,
            reach=lambda caller: admit(TABLE[WATCH_MANY], caller, now=now()),
            now=now,
        )


@asynccontextmanager
async def serving(settings: ProcessSettings) -> AsyncIterator[StatusServicer]:
    """Serve while inside, as the settings say."""
    draining = asyncio.Event()
    verifier = settings.verifier()
    async with AsyncExitStack() as stack:
        meter = await stack.enter_async_context(settings.metering())
        engine = make_engine(settings.database_url, application_name=SERVICE)
        stack.push_async_callback(engine.dispose)
        await wait_for_schema(engine, MIGRATIONS, timeout_s=SCHEMA_WAIT_S)
        await check_order(engine, timeout_s=SCHEMA_WAIT_S)
        servicer = await stack.enter_async_context(
            status_servicer(
                settings.database_url,
                engine=engine,
                verify=verifier.verify,
                draining=draining,
                now=utc_now,
                meter=meter,
            )
        )
        await stack.enter_async_context(
            settings.server(
                partial(add_StatusServiceServicer_to_server, servicer),
                access=TABLE,
                verifier=verifier,
                engine=engine,
                limits=LIMITS,
                draining=draining,
                meter=meter,
            )
        )
        yield servicer


async def serve(settings: ProcessSettings) -> None:
    """Serve until the process is terminated."""
    settings.arm()
    with settings.observed(SERVICE):
        async with serving(settings):
            await until_terminated()


async def maintain_history(settings: MaintenanceSettings, _: Sequence[str]) -> None:
    """Make the months to come, and take out those that are old and settled."""
    owner = settings.owner
    await maintain(
        owner.owner_url, runtime_role=owner.runtime_role, now=utc_now(), history_months=settings.history_months
    )


PROGRAM: Final = Program(
    service=SERVICE,
    migrations=MIGRATIONS,
    read=read_settings,
    serve=serve,
    maintain=Command(read=MaintenanceSettings.read, run=maintain_history),
)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])

"""Behind a pooler: session mode serves; a service given another connection with each transaction says so instead."""

from __future__ import annotations

from contextlib import ExitStack

import asyncpg
import pytest

from local.databases import ServiceDatabase
from local.environments import SERVICES
from local.processes import ProcessFailed
from local.suite import Suite
from services.runtime.database.check import TIMEOUTS_MS
from services.runtime.database.connections import role_of
from tests.pooling import needs_pooler, pooler
from tests.status.restarts import RestartablePostgres
from tests.suite.journeys import JOURNEYS, Traveller

SETTING = "BATZEN_RUNTIME_DATABASE_URL"


@needs_pooler
@pytest.mark.parametrize("service", ["gateway", "pricing", "status", "orchestrator"])
async def test_a_service_behind_transaction_pooling_says_so_instead_of_serving(suite: Suite, service: str) -> None:
    environment = suite.env_for(service)
    before = environment[SETTING]
    database = database_of(suite, service)
    try:
        with (
            pooler(database, pool_mode="transaction") as environment[SETTING],
            pytest.raises(ProcessFailed, match=r"Not started: .*pooler .* use pool_mode = session"),
        ):
            await suite.restart(service)
    finally:
        environment[SETTING] = before
        await suite.start(service)


@pytest.mark.faults
@needs_pooler
async def test_the_whole_suite_works_behind_session_pooling_with_its_time_outs_in_the_roles(
    suite: Suite, traveller: Traveller, suite_postgres: RestartablePostgres
) -> None:
    databases = {service: database_of(suite, service) for service in SERVICES}
    before = {service: suite.env_for(service)[SETTING] for service in SERVICES}
    try:
        with ExitStack() as poolers:
            for service, database in databases.items():
                await give_time_outs(suite_postgres.server.admin_url, database, reset=False)
                url = poolers.enter_context(pooler(database, pool_mode="session", default_pool_size="60"))
                suite.env_for(service)[SETTING] = url
                await suite.restart(service)

            for name in ("3-D Secure and sync", "webhook", "refund"):
                journey, ends = JOURNEYS[name]
                payment_id = await journey(traveller)
                await traveller.until(payment_id, ends.state)
                await traveller.check(payment_id, ends)
    finally:
        for service, database in databases.items():
            suite.env_for(service)[SETTING] = before[service]
            await give_time_outs(suite_postgres.server.admin_url, database, reset=True)
            await suite.restart(service)


def database_of(suite: Suite, service: str) -> ServiceDatabase:
    """Return the database that a service of the suite runs on."""
    url = suite.database_url(service)
    return ServiceDatabase(name=url.rsplit("/", 1)[1], owner_url=suite.owner_url(service), runtime_url=url)


async def give_time_outs(admin_url: str, database: ServiceDatabase, *, reset: bool) -> None:
    """Let the runtime's role have what a pooler does not let through, or not any more."""
    admin = await asyncpg.connect(admin_url)
    try:
        for name, wanted_ms in TIMEOUTS_MS.items():
            change = f"RESET {name}" if reset else f"SET {name} = '{wanted_ms}ms'"
            role = f'"{role_of(database.runtime_url)}"'
            await admin.execute(f'ALTER ROLE {role} IN DATABASE "{database.name}" {change}')
    finally:
        await admin.close()

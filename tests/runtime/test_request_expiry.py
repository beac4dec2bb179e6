"""What is older than the contracts say goes, however much it is, and goes on going after the database was away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from local.databases import ServiceDatabase
from services.errors import DependencyUnavailable
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.request_expiry import FORGET_BATCH, forget, forgetting
from tests.conftest import Databases
from tests.eventually import WITHIN_S

SAMPLE: Final = Path(__file__).parent / "migrations_sample"
NOW: Final = datetime(2026, 11, 28, tzinfo=UTC)
STATEMENT: Final = """
DELETE FROM bookings WHERE ctid = ANY(ARRAY(SELECT ctid FROM bookings WHERE $1::timestamptz < now() LIMIT $2))
RETURNING 1"""


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("sample", migrations=SAMPLE)
    yield database
    await databases.drop(database)


@pytest.fixture
async def held(database: ServiceDatabase) -> AsyncIterator[DirectConnections]:
    async with DirectConnections(database.runtime_url, application_name="test", size=2) as held:
        yield held


@pytest.fixture
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


async def book(owner: asyncpg.Connection, count: int) -> None:
    await owner.execute(
        "INSERT INTO bookings (tenant_id, booking_id, request_id, amount_minor) "
        "SELECT 'main', number::text, gen_random_uuid(), 1 FROM generate_series(1, $1) AS number",
        count,
    )


async def test_more_than_a_batch_is_forgotten_batch_by_batch(
    held: DirectConnections, owner: asyncpg.Connection
) -> None:
    await book(owner, FORGET_BATCH + 1)
    assert await forget(held, STATEMENT, now=NOW) == FORGET_BATCH + 1
    assert await owner.fetchval("SELECT count(*) FROM bookings") == 0


@pytest.mark.parametrize(
    "failure", [DependencyUnavailable(dependency="database"), asyncpg.DataError("of a kind that nobody thought of")]
)
async def test_forgetting_goes_on_after_the_database_was_away_or_failed(
    failure: Exception, held: DirectConnections, owner: asyncpg.Connection
) -> None:
    times = 0

    def now() -> datetime:
        nonlocal times
        times += 1
        if times == 1:
            raise failure
        return NOW

    await book(owner, 1)
    async with forgetting(held, (STATEMENT,), now=now, every_s=0), asyncio.timeout(WITHIN_S):
        while await owner.fetchval("SELECT count(*) FROM bookings"):
            pass
    assert times > 1

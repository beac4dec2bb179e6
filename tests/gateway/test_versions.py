"""Versions of what is seen: above all that were given before, whatever became of clocks and databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batzen.gateway.v1 import observation_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from services.gateway.mirror.observation import next_version
from services.runtime.database.connections import plain_dsn
from tests.clock import Clock
from tests.gateway.conftest import Sink
from tests.gateway.samples import Payments
from tests.gateway.stubs import GatewayStubs

BELONGING = {
    "refunds": "payment_id",
    "calls": "subject_id",
    "intents": "payment_id",
    "deliveries": "payment_id",
    "ledger_entries": "payment_id",
    "payments": "payment_id",
}
"""Tables that say something of a payment, and by which column."""

_TIMES = st.integers(0, 7_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(st.lists(_TIMES, min_size=1, max_size=20))
def test_versions_grow_whatever_the_clock_says(times: list[datetime]) -> None:
    version = 0
    for now in times:
        before, version = version, next_version(version, now)
        assert before < version < 1 << 53


@given(_TIMES, st.integers(0, 1_000), st.timedeltas(min_value=timedelta(milliseconds=2), max_value=timedelta(days=99)))
def test_a_version_after_a_restore_is_above_those_that_were_forgotten(
    restored_to: datetime, changes: int, outage: timedelta
) -> None:
    kept = forgotten = next_version(0, restored_to)
    for _ in range(changes):  # within one microsecond
        forgotten = next_version(forgotten, restored_to)

    assert next_version(kept, restored_to + outage) > forgotten


async def rows_of(connection: asyncpg.Connection, payment_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a payment as they were at one moment, as a backup has them."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return {
            table: [dict(row) for row in await connection.fetch(f"SELECT * FROM {table} WHERE {key} = $1", payment_id)]
            for table, key in BELONGING.items()
        }


async def put_back(connection: asyncpg.Connection, payment_id: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Make the rows of a payment what they were, as a restored database has them."""
    async with connection.transaction():  # the entries of a fact balance each other
        # Who settles the payment meanwhile books with its row: before all of this or, its fence being gone, not at all.
        await connection.execute("SELECT FROM payments WHERE payment_id = $1 FOR UPDATE", payment_id)
        for table, key in BELONGING.items():
            await connection.execute(f"DELETE FROM {table} WHERE {key} = $1", payment_id)
            for row in rows[table]:
                names, places = ", ".join(row), ", ".join(f"${number}" for number in range(1, len(row) + 1))
                await connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *row.values())


@pytest.mark.parametrize("changes_before", [1, 3])
async def test_what_is_seen_after_a_restore_is_newer_than_what_was_told_before_it(  # noqa: PLR0917 fixtures
    gateway: GatewayStubs,
    payments: Payments,
    stripe: SandboxControl,
    database: ServiceDatabase,
    delivered: Sink,
    clock: Clock,
    changes_before: int,
) -> None:
    payment_id = await payments.paid()
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    told: list[observation_pb2.PaymentObservation] = []
    try:
        rows = await rows_of(owner, payment_id)
        for number in range(changes_before):
            answer = await gateway.CreateRefund(
                payments.refund_request(payment_id, 100, expected_minor=10_000 - 100 * number)
            )
            told.append(answer.observation)
        await put_back(owner, payment_id, rows)
    finally:
        await owner.close()
    clock.advance(timedelta(seconds=1))
    await stripe.refund(await payments.intent_id(payment_id), amount=1_000)

    seen = await payments.synced(payment_id)

    assert seen.amounts.refunded_minor == 1_000 + 100 * changes_before
    assert seen.mirror_version > max(one.mirror_version for one in told)
    # Of what is seen soon after another thing only the last may be told.
    assert await delivered.hears(payment_id, lambda one: one.mirror_version >= seen.mirror_version)

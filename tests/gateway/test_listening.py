"""What `batzen listen` shows of an event: that it came in, and what became of it, however late that is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from batzen.cli.event_looks import DECIDED_MAX, OVERLAP, Looks
from batzen.gateway.v1.ops_pb2 import WebhookEvent
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn
from tests.gateway.conftest import Gateway
from tests.gateway.samples import new_id

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
DONE, PARKED, WAITING = WebhookEvent.STATE_DONE, WebhookEvent.STATE_PARKED, WebhookEvent.STATE_WAITING


class Events:
    """Rows as the inbox writes them, of a type of their own, and one listener for them."""

    def __init__(self, owner: asyncpg.Connection, ops: GatewayOpsServiceStub) -> None:
        self._owner = owner
        self.type = new_id("type")
        self._looks = Looks(ops.ListWebhookEvents, begin=BEGIN, payment_id="", types=[self.type])

    async def come(self, *event_ids: str, after_s: float, state: str = "WAITING") -> None:
        await self._owner.executemany(
            """INSERT INTO events (tenant_id, event_id, type, subject, body, holder, state, create_time, receive_time)
               VALUES ('main', $1, $2, $1, '', 'day/2026-03-01', $3, $4, $4)""",
            [(event_id, self.type, state, BEGIN + timedelta(seconds=after_s)) for event_id in event_ids],
        )

    async def become(self, state: str, *event_ids: str) -> None:
        await self._owner.execute(
            "UPDATE events SET state = $3, done_time = receive_time WHERE type = $1 AND event_id = ANY($2)",
            self.type, event_ids, state,
        )  # fmt: skip

    async def go(self, event_id: str) -> None:
        await self._owner.execute("DELETE FROM events WHERE event_id = $1", event_id)

    async def news(self) -> list[tuple[str, int]]:
        return [(one.event_id, one.state) for one in await self._looks.look()]


@pytest.fixture
async def events(replica: Gateway, database: ServiceDatabase) -> AsyncIterator[Events]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    async with replica.connect_ops() as ops:
        yield Events(connection, ops)
    await connection.close()


async def test_what_is_parked_after_others_came_in_is_shown_once_more(events: Events) -> None:
    slow, slower, other = (new_id("evt") for _ in range(3))
    await events.come(slow, after_s=1)
    await events.come(slower, after_s=2)
    assert await events.news() == [(slow, WAITING), (slower, WAITING)]
    await events.come(other, after_s=10 + OVERLAP.total_seconds(), state="DONE")
    assert await events.news() == [(other, DONE)]
    assert await events.news() == []

    await events.become("PARKED", slow)
    assert await events.news() == [(slow, PARKED)]
    assert await events.news() == []
    await events.become("DONE", slower)
    assert await events.news() == [(slower, DONE)]
    assert await events.news() == []


async def test_of_those_that_came_at_one_instant_none_is_lost_or_shown_twice(events: Events) -> None:
    stayed, *slow = sorted(new_id("evt") for _ in range(DECIDED_MAX + 2))
    await events.come(stayed, *slow, after_s=1)
    await events.come(new_id("evt"), after_s=10 + OVERLAP.total_seconds(), state="DONE")
    assert len(await events.news()) == len(slow) + 2

    await events.become("DONE", *slow)
    looks = [await events.news() for _ in range(3)]
    assert sorted(one for news in looks for one in news) == [(event_id, DONE) for event_id in slow]


async def test_what_is_kept_no_longer_is_not_asked_for_again(events: Events) -> None:
    gone, other = new_id("evt"), new_id("evt")
    await events.come(gone, after_s=1)
    await events.come(other, after_s=10 + OVERLAP.total_seconds())
    assert await events.news() == [(gone, WAITING), (other, WAITING)]

    await events.go(gone)
    assert await events.news() == []
    await events.become("DONE", other)
    assert await events.news() == [(other, DONE)]

"""Facts are kept once each, and whoever they concern is told of each once, whoever hears of them and however often."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from local.databases import ServiceDatabase
from services.orchestrator.facts.domain import Fact, FactKind, fact_id
from services.orchestrator.facts.sink import AfterCommit
from services.orchestrator.facts.store import FORGET, FactStore
from services.orchestrator.notifications.domain import MAILED_WITHIN, Recipient
from services.orchestrator.notifications.fact_sink import NotificationSink
from services.orchestrator.notifications.kinds import RecipientKind
from services.orchestrator.notifications.store import NotificationStore
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.request_expiry import REQUESTS_KEPT, forget
from services.runtime.work.kinds import WorkClass
from tests.orchestrator.samples import Clock, new_payment_id

AT_ONCE = 8


class BrokenSink:
    """Fails after whoever came before it wrote."""

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> AfterCommit | None:
        raise RuntimeError("broken")


class Following:
    """Notes what is new, and what was committed."""

    def __init__(self) -> None:
        self.taken: list[Fact] = []
        self.committed = 0

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> AfterCommit | None:
        self.taken += facts

        def count() -> None:
            self.committed += len(facts)

        return count


@pytest.fixture(scope="module")
async def held(database: ServiceDatabase) -> AsyncIterator[DirectConnections]:
    async with DirectConnections(database.runtime_url, application_name="fact-tests", size=AT_ONCE) as held:
        yield held


@pytest.fixture
async def rows(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


@pytest.fixture
def tenant_id() -> str:
    """A tenant of the test's own."""
    return f"tenant-{''.join(secrets.choice('abcdefghijkl') for _ in range(12))}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sink() -> Following:
    return Following()


@pytest.fixture
def store(held: DirectConnections, clock: Clock, sink: Following) -> FactStore:
    return FactStore(held, sinks=[NotificationSink(now=clock.now), sink], now=clock.now, wake=lambda _: None)


def received(tenant_id: str, clock: Clock, **changes: object) -> Fact:
    payment_id = new_payment_id()
    fact = Fact(
        tenant_id=tenant_id,
        fact_id=fact_id(FactKind.PAYMENT_RECEIVED, payment_id, "4"),
        kind=FactKind.PAYMENT_RECEIVED,
        occur_time=clock.now(),
        payment_id=payment_id,
        revision=4,
        payer_id="payer",
        seller_ids=("guide", "school"),
        values={"amount_minor": "1250", "currency_code": "CHF"},
    )
    return replace(fact, **changes)  # type: ignore[arg-type]


async def told(rows: asyncpg.Connection, tenant_id: str) -> Counter[tuple[str, str]]:
    found = await rows.fetch("SELECT recipient_kind, recipient_id FROM notifications WHERE tenant_id = $1", tenant_id)
    return Counter((row["recipient_kind"], row["recipient_id"]) for row in found)


async def mailed(rows: asyncpg.Connection, tenant_id: str) -> Counter[tuple[str, str]]:
    found = await rows.fetch(
        "SELECT recipient_kind, recipient_id FROM mails WHERE tenant_id = $1 AND due_time <= now()", tenant_id
    )
    return Counter((row["recipient_kind"], row["recipient_id"]) for row in found)


async def test_a_fact_is_kept_and_told_once_to_each_whoever_hears_of_it_at_once(
    store: FactStore, sink: Following, rows: asyncpg.Connection, tenant_id: str, clock: Clock
) -> None:
    fact, other = received(tenant_id, clock), received(tenant_id, clock)
    heard = await asyncio.gather(*(store.keep(tenant_id, [fact, other, fact]) for _ in range(AT_ONCE)))
    assert Counter(one.fact_id for new in heard for one in new) == {fact.fact_id: 1, other.fact_id: 1}
    assert not await store.keep(tenant_id, [fact])
    assert (len(sink.taken), sink.committed) == (2, 2)
    assert await told(rows, tenant_id) == {("PAYER", "payer"): 2, ("SELLER", "guide"): 2, ("SELLER", "school"): 2}
    assert await mailed(rows, tenant_id) == {("PAYER", "payer"): 2}
    [row] = await rows.fetch("SELECT * FROM facts WHERE tenant_id = $1 AND fact_id = $2", tenant_id, fact.fact_id)
    assert (row["seller_ids"], row["revision"], row["occur_time"]) == (["guide", "school"], 4, fact.occur_time)


async def test_what_follows_is_committed_with_the_fact_or_not_at_all(
    held: DirectConnections, store: FactStore, rows: asyncpg.Connection, tenant_id: str, clock: Clock
) -> None:
    fact = received(tenant_id, clock)
    broken = FactStore(held, sinks=[NotificationSink(now=clock.now), BrokenSink()], now=clock.now, wake=lambda _: None)
    with pytest.raises(RuntimeError, match="broken"):
        await broken.keep(tenant_id, [fact])
    assert await told(rows, tenant_id) == {}
    assert await store.keep(tenant_id, [fact]) == [fact]
    assert (await told(rows, tenant_id)).total() == 3


async def test_each_recipient_has_numbers_of_its_own_without_a_gap(
    store: FactStore, rows: asyncpg.Connection, tenant_id: str, clock: Clock
) -> None:
    facts = [received(tenant_id, clock, seller_ids=(seller,)) for seller in ("guide", "school") * AT_ONCE]
    await asyncio.gather(*(store.keep(tenant_id, facts[at : at + 2]) for at in range(0, len(facts), 2)))
    found = await rows.fetch(
        """SELECT recipient_id, array_agg(number ORDER BY number) AS numbers FROM notifications
           WHERE tenant_id = $1 GROUP BY 1""",
        tenant_id,
    )
    assert {row["recipient_id"]: len(row["numbers"]) for row in found} == {
        "payer": len(facts),
        "guide": AT_ONCE,
        "school": AT_ONCE,
    }
    assert all(row["numbers"] == list(range(1, len(row["numbers"]) + 1)) for row in found)


async def test_facts_wake_what_they_make_due(held: DirectConnections, tenant_id: str, clock: Clock) -> None:
    woken: list[WorkClass] = []
    store = FactStore(held, sinks=(), now=clock.now, wake=woken.append)
    fact = received(tenant_id, clock)
    await store.keep(tenant_id, [fact])
    await store.keep(tenant_id, [fact])
    assert sorted(woken) == [WorkClass.HOOKS, WorkClass.MAILS]


async def test_what_is_heard_late_is_told_in_the_app_alone(
    store: FactStore, rows: asyncpg.Connection, tenant_id: str, clock: Clock
) -> None:
    late = received(tenant_id, clock, occur_time=clock.now() - MAILED_WITHIN - timedelta(seconds=5))
    await store.keep(tenant_id, [late])
    assert (await told(rows, tenant_id)).total() == 3
    assert await mailed(rows, tenant_id) == {}


async def test_what_a_later_release_knows_stops_nothing_here(
    held: DirectConnections, store: FactStore, rows: asyncpg.Connection, tenant_id: str, clock: Clock
) -> None:
    """While it is rolled out, or after it was taken back: its kinds stand in a policy, and were opted out of."""
    switches = [
        {"kind": "OF_TOMORROW", "recipient": "PAYER", "channels": []},
        {"kind": "PAYMENT_RECEIVED", "recipient": "SELLER", "channels": []},
    ]
    await rows.execute(
        """INSERT INTO notification_policies
            (tenant_id, revision, policy, caller, request_id, request_hash, actor_id, reason, create_time)
        VALUES ($1, 1, $2, 'test', gen_random_uuid(), '', '', '', now())""",
        tenant_id,
        json.dumps({"switches": switches}),
    )
    await rows.execute(
        """INSERT INTO notification_opt_outs (tenant_id, recipient_kind, recipient_id, kind, channel, create_time)
        VALUES ($1, 'PAYER', 'payer', 'OF_TOMORROW', 'MAIL', now())""",
        tenant_id,
    )
    await store.keep(tenant_id, [received(tenant_id, clock)])
    assert await told(rows, tenant_id) == {("PAYER", "payer"): 1}
    assert await NotificationStore(held).opt_outs(tenant_id, Recipient(RecipientKind.PAYER, "payer")) == set()


async def test_facts_of_another_tenant_are_not_kept(store: FactStore, tenant_id: str, clock: Clock) -> None:
    with pytest.raises(ValueError, match="one tenant"):
        await store.keep(tenant_id, [received("another", clock)])


async def test_old_facts_are_forgotten(
    held: DirectConnections, store: FactStore, rows: asyncpg.Connection, tenant_id: str, clock: Clock
) -> None:
    await store.keep(tenant_id, [received(tenant_id, clock)])
    clock.advance(REQUESTS_KEPT + timedelta(seconds=5))
    young = received(tenant_id, clock)
    await store.keep(tenant_id, [young])
    await forget(held, FORGET, now=clock.now())
    assert await rows.fetchval("SELECT array_agg(fact_id) FROM facts WHERE tenant_id = $1", tenant_id) == [
        young.fact_id
    ]

"""Status is followed: each revision is heard once, whoever dies or repeats, and whoever is concerned is told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.facts import follower
from services.orchestrator.facts.feed_rows import FeedLost
from services.orchestrator.facts.follower import CROWDED_REST, Follower
from services.runtime.database.connections import plain_dsn
from services.runtime.database.lease import LEASE
from services.runtime.rpc import call_context
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.lives import Died, Lives, Mortal
from tests.orchestrator.samples import Clock, cancel, refund, submit


@pytest.fixture
async def rows(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


async def kinds(rows: asyncpg.Connection, payment_id: str) -> list[str]:
    """Return what was told of a payment beside that it moved, in the order in which it was heard."""
    found = await rows.fetch(
        "SELECT kind FROM facts WHERE payment_id = $1 AND kind <> 'PAYMENT_MOVED' ORDER BY seq", payment_id
    )
    return [row["kind"] for row in found]


async def moves(rows: asyncpg.Connection, payment_id: str) -> list[int]:
    found = await rows.fetch(
        "SELECT revision FROM facts WHERE payment_id = $1 AND kind = 'PAYMENT_MOVED' ORDER BY seq", payment_id
    )
    return [row["revision"] for row in found]


async def told(rows: asyncpg.Connection, payment_id: str) -> Counter[tuple[str, str]]:
    found = await rows.fetch("SELECT kind, recipient_kind FROM notifications WHERE payment_id = $1", payment_id)
    return Counter((row["kind"], row["recipient_kind"]) for row in found)


async def paid_count(rows: asyncpg.Connection) -> int:
    """Return how many payments were paid, as figures have it."""
    found = "SELECT sum(amount) FROM payment_figures WHERE tenant_id = 'main' AND dimension = 'ALL' AND figure = 'PAID'"
    return int(await rows.fetchval(found) or 0)


async def heard(replica: Orchestrator, rows: asyncpg.Connection, journeys: Journeys, payment_id: str) -> None:
    """Have everything heard of a payment: others' transactions may hold the feed up for a moment."""
    revision = (await journeys.payment(payment_id)).revision

    async def is_heard() -> bool:
        await replica.hear()
        return await moves(rows, payment_id) == list(range(1, revision + 1))

    await eventually(is_heard)


async def test_each_revision_is_heard_once_and_who_is_concerned_is_told_once(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    payment_id = await journeys.paid()
    await heard(replica, rows, journeys, payment_id)
    assert await kinds(rows, payment_id) == ["PAYMENT_RECEIVED"]
    await orchestrator.RefundPayment(refund(payment_id, 2_500))
    await heard(replica, rows, journeys, payment_id)
    await replica.hear()
    assert await kinds(rows, payment_id) == ["PAYMENT_RECEIVED", "PAYMENT_REFUNDED"]
    assert await told(rows, payment_id) == {
        (kind, who): 1 for kind in ("PAYMENT_RECEIVED", "PAYMENT_REFUNDED") for who in ("PAYER", "SELLER")
    }


async def test_the_payment_of_a_fact_is_as_its_revision_left_it(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    payment_id = await journeys.paid()
    await heard(replica, rows, journeys, payment_id)
    found = await rows.fetch("SELECT revision, payment FROM facts WHERE payment_id = $1", payment_id)
    for row in found:
        payment = type(await journeys.payment(payment_id)).FromString(row["payment"])
        assert (payment.payment_id, payment.revision) == (payment_id, row["revision"])


@pytest.mark.parametrize("is_followed", [True, False], ids=["lost", "new"])
async def test_a_feed_that_begins_anew_lists_what_it_did_not_hear_and_tells_nothing_twice(
    replica: Orchestrator,
    journeys: Journeys,
    rows: asyncpg.Connection,
    is_followed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its cursor leads nowhere any more; or a tenant's payments are followed for the first time. What a page brings is
    kept in parts, one of which ends in the middle of a payment.
    """
    monkeypatch.setattr(follower, "KEPT_AT_ONCE", 3)
    first = await journeys.paid()
    await heard(replica, rows, journeys, first)
    second = await journeys.paid()
    if is_followed:
        await rows.execute("UPDATE feeds SET cursor = 'of another database' WHERE tenant_id = 'main'")
    else:
        await rows.execute("DELETE FROM feeds WHERE tenant_id = 'main'")
    await heard(replica, rows, journeys, second)
    for payment_id in (first, second):
        assert await kinds(rows, payment_id) == ["PAYMENT_RECEIVED"]
        assert await told(rows, payment_id) == {("PAYMENT_RECEIVED", "PAYER"): 1, ("PAYMENT_RECEIVED", "SELLER"): 1}


async def test_a_list_that_cannot_go_on_begins_anew(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    """Another release of status, or another server, made the token of its next page."""
    await heard(replica, rows, journeys, await journeys.paid())
    payment_id = await journeys.paid()
    await rows.execute(
        "UPDATE feeds SET list_token = 'of another release', list_cursor = cursor WHERE tenant_id = 'main'"
    )
    await heard(replica, rows, journeys, payment_id)
    assert await kinds(rows, payment_id) == ["PAYMENT_RECEIVED"]


async def test_revisions_that_a_feed_left_out_are_read(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    payment_id = await journeys.started()
    await heard(replica, rows, journeys, payment_id)
    await rows.execute("UPDATE followed_payments SET revision = 1 WHERE payment_id = $1", payment_id)
    await rows.execute("DELETE FROM facts WHERE payment_id = $1 AND revision > 1", payment_id)
    await journeys.orchestrator.SubmitPayment(submit(payment_id))
    await heard(replica, rows, journeys, payment_id)


async def test_a_payer_is_reminded_once_of_each_charge(
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    rows: asyncpg.Connection,
    clock: Clock,
) -> None:
    charge_time = (clock.now() + timedelta(days=10)).replace(microsecond=0)
    payment_id, called_off = await journeys.scheduled(charge_time), await journeys.scheduled(charge_time)
    for one in (payment_id, called_off):
        await heard(replica, rows, journeys, one)
        assert await kinds(rows, one) == ["PAYMENT_SCHEDULED"]
    reminders = replica.engine(replica.parts.hearing.reminders.kind)
    clock.advance(timedelta(days=7) - timedelta(minutes=1))
    await reminders.once()
    assert await kinds(rows, payment_id) == ["PAYMENT_SCHEDULED"]
    # One is called off, and nobody has heard of that yet when the reminder is due.
    await orchestrator.CancelPayment(cancel(called_off))
    clock.advance(timedelta(minutes=2))
    await reminders.once()
    await rows.execute("UPDATE followed_payments SET due_time = now() WHERE payment_id = $1", payment_id)
    await reminders.once()
    assert await kinds(rows, payment_id) == ["PAYMENT_SCHEDULED", "CHARGE_UPCOMING"]
    assert await kinds(rows, called_off) == ["PAYMENT_SCHEDULED"]
    assert (await told(rows, payment_id))["CHARGE_UPCOMING", "PAYER"] == 1


async def test_who_lost_its_lease_keeps_nothing(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    payment_id = await journeys.started()
    await heard(replica, rows, journeys, payment_id)
    feeds, feed = replica.parts.hearing.rows, replica.parts.hearing.follower.feed
    fence = await rows.fetchval("SELECT fence FROM feeds WHERE tenant_id = 'main'")
    place = await feeds.place("main", fence=fence)
    await orchestrated(journeys, payment_id)
    with call_context.acting_for("main"):
        now = await feed.payment(payment_id)
    with pytest.raises(FeedLost):
        await feeds.place("main", fence=fence - 1)
    with pytest.raises(FeedLost):
        await feeds.advance("main", replace(place, cursor="elsewhere"), [now], fence=fence - 1, is_complete=True)
    assert await feeds.place("main", fence=fence) == place
    assert await kinds(rows, payment_id) == []
    await heard(replica, rows, journeys, payment_id)
    assert await kinds(rows, payment_id) == ["PAYMENT_RECEIVED"]


async def orchestrated(journeys: Journeys, payment_id: str) -> None:
    await journeys.orchestrator.SubmitPayment(submit(payment_id))


@pytest.mark.parametrize("is_listing", [False, True], ids=["stream", "list"])
async def test_a_process_that_dies_anywhere_leaves_nothing_untold_and_nothing_told_twice(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection, is_listing: bool, lives: Lives
) -> None:
    hearing = replica.parts.hearing
    for life in lives():
        await heard(replica, rows, journeys, await journeys.started())  # and so all that came before
        paid = await paid_count(rows)
        payment_id = await journeys.paid()
        if is_listing:
            await rows.execute("UPDATE feeds SET cursor = '' WHERE tenant_id = 'main'")
        mortal: Any = Mortal(hearing.rows, life)
        follower = Follower(mortal, hearing.follower.feed, now=replica.world.clock.now)
        with suppress(Died):
            await replica.engine(replace(follower.kind, handler=follower.catch_up)).once()
        replica.world.clock.advance(LEASE)
        await heard(replica, rows, journeys, payment_id)
        assert await kinds(rows, payment_id) == ["PAYMENT_RECEIVED"], life.place
        wanted = {("PAYMENT_RECEIVED", "PAYER"): 1, ("PAYMENT_RECEIVED", "SELLER"): 1}
        assert await told(rows, payment_id) == wanted, life.place
        assert await paid_count(rows) == paid + 1, life.place


async def test_a_feed_that_goes_on_is_not_held_back_by_processes_that_died_with_it(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    """Its lease is held for long, so whatever kills a process takes a feed along; that is no fault of the feed's."""
    payment_id = await journeys.started()
    await heard(replica, rows, journeys, payment_id)
    feeds, feed = replica.parts.hearing.rows, replica.parts.hearing.follower.feed
    fence = await rows.fetchval("SELECT fence FROM feeds WHERE tenant_id = 'main'")
    place = await feeds.place("main", fence=fence)
    await rows.execute("UPDATE feeds SET lapses = 9 WHERE tenant_id = 'main'")
    with call_context.acting_for("main"):
        now = await feed.payment(payment_id)
    await feeds.advance("main", place, [now], fence=fence, is_complete=True)
    assert await rows.fetchval("SELECT lapses FROM feeds WHERE tenant_id = 'main'") == 0


async def test_a_turn_comes_to_its_end_with_the_process_and_the_next_goes_on(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    """The stream is open when the process is asked to end."""
    await replica.parts.hearing.find()
    follower = Follower(replica.parts.hearing.rows, replica.parts.hearing.follower.feed, now=replica.world.clock.now)
    engine = replica.engine(follower.kind)
    engine.when_ending(follower.end)
    payment_id = await journeys.started()
    async with engine.running():
        await eventually(lambda: is_moved(rows, payment_id))
    assert not await rows.fetchval("SELECT held_until > '-infinity' FROM feeds WHERE tenant_id = 'main'")
    await journeys.orchestrator.SubmitPayment(submit(payment_id))
    await heard(replica, rows, journeys, payment_id)


async def is_moved(rows: asyncpg.Connection, payment_id: str) -> bool:
    return bool(await moves(rows, payment_id))


async def test_what_happens_while_status_does_not_answer_is_heard_later(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    payment_id = await journeys.paid()
    async with replica.world.orchestrator(away=frozenset({"status"})) as lonely:
        await lonely.hear()
    failures, problem = await rows.fetchrow("SELECT failures, problem FROM feeds WHERE tenant_id = 'main'")
    assert (failures, problem.partition(":")[0]) == (1, "PeerUnavailable")
    replica.world.clock.advance(timedelta(seconds=5))
    await heard(replica, rows, journeys, payment_id)
    assert await rows.fetchval("SELECT failures FROM feeds WHERE tenant_id = 'main'") == 0


async def test_of_a_payment_whose_history_is_archived_what_comes_later_is_told(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    """Nobody had heard of it before."""
    payment_id = await journeys.paid()
    status = await asyncpg.connect(plain_dsn(replica.world.status_database.owner_url))
    await status.execute("DELETE FROM transitions WHERE payment_id = $1 AND revision < 4", payment_id)
    await status.close()
    await rows.execute("UPDATE feeds SET cursor = 'of another database' WHERE tenant_id = 'main'")

    async def is_listed() -> bool:
        await replica.hear()
        return await moves(rows, payment_id) == [4]

    await eventually(is_listed)
    assert await kinds(rows, payment_id) == []
    await journeys.orchestrator.RefundPayment(refund(payment_id, 2_500))

    async def is_told() -> bool:
        await replica.hear()
        return await kinds(rows, payment_id) == ["PAYMENT_REFUNDED"]

    await eventually(is_told)


async def test_where_there_are_more_tenants_than_slots_a_turn_ends_once_it_has_caught_up(
    replica: Orchestrator, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    await replica.parts.hearing.find()
    follower = Follower(replica.parts.hearing.rows, replica.parts.hearing.follower.feed, now=replica.world.clock.now)
    follower.is_crowded = True
    payment_id, begin_time = await journeys.paid(), replica.world.clock.now()

    async def is_heard() -> bool:
        replica.world.clock.advance(CROWDED_REST)
        await replica.engine(follower.kind).once()
        return await moves(rows, payment_id) == [1, 2, 3, 4]

    await eventually(is_heard)
    shift = replica.world.clock.shift
    row = await rows.fetchrow(
        "SELECT heard_time, due_time > now() + $1::interval AS rests FROM feeds WHERE tenant_id = 'main'", shift
    )
    assert row["heard_time"] >= begin_time
    assert row["rests"]
    replica.world.clock.advance(CROWDED_REST)

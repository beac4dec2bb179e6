"""WatchPayments over a real channel: a feed that skips nothing, whoever was away and whatever committed late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from grpc import aio

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.database.connections import make_engine, plain_dsn
from services.shared.paging import TOKEN_CHARACTERS_MAX
from services.status.changes.cursors import ONLY, SHARDS_MAX, XID_END, Position, cursor_of, positions_of
from services.status.changes.log import ChangeLog, OrderBroken, check_order
from services.status.domain.filters import Filter
from services.status.watches.send_queue import StreamLimits
from tests.conftest import MakeDatabase
from tests.eventually import WITHIN_S
from tests.status.conftest import Replica, StatusServiceStub, move, running_replica
from tests.status.samples import attentions, list_request, money, open_request, refusal_of, refused, snapshot, succeeded

STEPS = [snapshot(attempt=attempt) for attempt in range(1, 600)]
RELATION = pb.WatchPaymentsResponse.Relation


class Changes:
    """A feed, read as a consumer does."""

    def __init__(self, responses: AsyncIterator[pb.WatchPaymentsResponse]) -> None:
        self._responses = responses
        self.cursor = ""
        self.messages = 0

    async def next(self) -> list[tuple[str, int, str]]:
        """Return the changes of the next message: payment, revision, relation."""
        message = await anext(self._responses)
        self.messages += 1
        self.cursor = message.cursor or self.cursor
        return [
            (each.payment.payment_id, each.payment.revision, RELATION.Name(each.relation).removeprefix("RELATION_"))
            for each in message.changes
        ]

    async def until(self, payment_id: str, revision: int) -> list[tuple[str, int, str]]:
        """Return all changes up to one that has to come."""
        seen: list[tuple[str, int, str]] = []
        while not any(change[:2] == (payment_id, revision) for change in seen):
            seen += await self.next()
        return seen

    async def rest(self) -> list[tuple[str, int, str]]:
        """Return all changes to the end of the stream, which has to be in order."""
        seen: list[tuple[str, int, str]] = []
        while True:
            try:
                seen += await self.next()
            except StopAsyncIteration:
                return seen


@asynccontextmanager
async def feed(
    status: StatusServiceStub, *, cursor: str = "", close_when: Any = None, **wanted: Any
) -> AsyncIterator[Changes]:
    request = pb.WatchPaymentsRequest(filter=pb.PaymentFilter(**wanted), cursor=cursor, close_when=close_when)
    async with streaming(status.WatchPayments(request, timeout=WITHIN_S)) as responses:
        yield Changes(responses)


@asynccontextmanager
async def tenant(replica: Replica, name: str) -> AsyncIterator[StatusServiceStub]:
    """Status for a tenant of the test's own, so that nobody else's payments are in the feed."""
    async with replica.connect(tenant=name) as stub:
        yield stub


async def opened(status: StatusServiceStub, **fields: Any) -> str:
    return (await status.OpenPayment(open_request(**fields))).payment.payment_id


async def test_a_feed_begins_now_and_carries_what_happens(replica: Replica) -> None:
    async with tenant(replica, "feed_now") as status:
        before = await opened(status)
        async with feed(status) as changes:
            assert await changes.next() == []
            assert changes.cursor
            await move(status, before, snapshot(), snapshot("PROCESSING"))
            after = await opened(status)

            seen = await changes.until(after, 1)

    expected = [(before, 2, "INSIDE"), (before, 3, "INSIDE"), (after, 1, "ENTERED")]
    assert [change for change in seen if change != (before, 1, "ENTERED")] == expected


async def test_a_change_carries_the_payment_as_the_transition_left_it(replica: Replica) -> None:
    async with tenant(replica, "feed_content") as status:
        cursor = (await status.ListPayments(list_request())).cursor
        payment_id = await opened(status, booking_ids=["booking_7"])
        now = await move(status, payment_id, snapshot(), succeeded(), succeeded(refunded=5))
        request = pb.WatchPaymentsRequest(cursor=cursor, close_when="CLOSE_WHEN_CAUGHT_UP")  # type: ignore[arg-type]
        carried = []
        async with streaming(status.WatchPayments(request, timeout=WITHIN_S)) as responses:
            async for message in responses:
                carried += [change.payment for change in message.changes]
        history = await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment_id))

    assert carried[-1] == now
    assert [payment.HasField("complete_time") for payment in carried] == [False, False, True, True]
    for payment, transition in zip(carried, history.transitions, strict=True):
        assert (payment.revision, payment.state, payment.settled) == (
            transition.revision,
            transition.state,
            transition.settled,
        )
        assert (payment.snapshot, payment.update_time) == (transition.snapshot, transition.record_time)
        assert list(payment.booking_ids) == ["booking_7"]


async def test_a_consumer_that_was_away_misses_nothing(replica: Replica) -> None:
    async with tenant(replica, "feed_away") as status:
        payment_id = await opened(status)
        async with feed(status) as changes:
            await changes.next()
            await move(status, payment_id, STEPS[0])
            await changes.until(payment_id, 2)
        await move(status, payment_id, *STEPS[1:500], expected=2)

        async with feed(status, cursor=changes.cursor) as again:
            seen = await again.until(payment_id, 501)
            await move(status, payment_id, STEPS[500], expected=501)
            seen += await again.until(payment_id, 502)

    assert sorted({revision for _, revision, _ in seen} - {2}) == list(range(3, 503))


async def test_what_commits_late_comes_late_and_is_not_skipped(replica: Replica, database: ServiceDatabase) -> None:
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    async with tenant(replica, "feed_late") as status:
        late, prompt = await opened(status), await opened(status)
        async with feed(status) as changes:
            await changes.next()
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(
                """
                WITH moved AS (UPDATE payments SET revision = revision + 1 WHERE payment_id = $1 RETURNING *)
                INSERT INTO transitions
                  (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
                SELECT tenant_id, payment_id, open_month, revision, gen_random_uuid(), state, snapshot, update_time
                FROM moved
                """,
                late,
            )
            await move(status, prompt, *STEPS[:3])
            async with feed(status, cursor=changes.cursor, close_when="CLOSE_WHEN_CAUGHT_UP") as meanwhile:
                seen_meanwhile = await meanwhile.rest()
            await transaction.commit()
            await move(status, prompt, STEPS[3], expected=4)

            seen = await changes.until(prompt, 5)
            async with feed(status, cursor=meanwhile.cursor, close_when="CLOSE_WHEN_CAUGHT_UP") as afterwards:
                seen_afterwards = await afterwards.rest()
    await connection.close()

    assert not {(late, 2), (prompt, 2)} & {change[:2] for change in seen_meanwhile}
    for carried in (seen, seen_afterwards):
        moves = [change[:2] for change in carried if change[1] > 1]
        assert moves == [(late, 2), (prompt, 2), (prompt, 3), (prompt, 4), (prompt, 5)]


async def test_a_page_goes_no_further_than_what_may_still_commit_as_it_is_read(
    replica: Replica, database: ServiceDatabase
) -> None:
    """After a crash PostgreSQL gives numbers again that lie below a horizon of before."""
    engine = make_engine(database.runtime_url, application_name="status-tests")
    log = ChangeLog(engine)
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    async with tenant(replica, "feed_page") as status:
        before = await log.head("feed_page")
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT pg_current_xact_id()")
        payment_id = await opened(status)
        wanted = Filter(tenant_id="feed_page")
        after = await log.head("feed_page")
        horizon = after.end + 1

        meanwhile = await log.page(wanted, after=before.position, horizon=horizon, limit=10)
        await transaction.rollback()
        afterwards = await log.page(wanted, after=before.position, horizon=horizon, limit=10)
    await connection.close()
    await engine.dispose()

    assert meanwhile == []
    assert [change.payment.opening.payment_id for change in afterwards] == [payment_id]


async def test_a_list_and_a_feed_from_its_cursor_leave_no_gap(replica: Replica) -> None:
    async with tenant(replica, "feed_list") as status:
        payment_ids = [await opened(status) for _ in range(5)]

        async def write() -> None:
            for step, payment_id in enumerate(payment_ids * 8):
                expected = 1 + step // len(payment_ids)
                await move(status, payment_id, STEPS[step], expected=expected)

        writing = asyncio.create_task(write())
        newest: dict[str, int] = {}
        page = await status.ListPayments(list_request(page_size=2))
        cursor = page.cursor
        while True:
            newest |= {payment.payment_id: payment.revision for payment in page.payments}
            if not page.next_page_token:
                break
            page = await status.ListPayments(list_request(page_size=2, page_token=page.next_page_token))
            assert not page.cursor
        async with feed(status, cursor=cursor) as changes:
            while min(newest.values()) < 9:
                for payment_id, revision, _ in await changes.next():
                    assert revision <= newest[payment_id] + 1, "nothing lies between"
                    newest[payment_id] = max(newest[payment_id], revision)
        await writing

    assert newest == dict.fromkeys(payment_ids, 9)


async def test_entering_and_leaving_the_filter_are_messages(replica: Replica) -> None:
    async with tenant(replica, "feed_filter") as status:
        cursor = (await status.ListPayments(list_request())).cursor
        ours = await opened(status, payer_id="p", seller_ids=["s"], booking_ids=["b"], client_reference="r")
        other = await opened(status, payer_id="q", seller_ids=["t"], booking_ids=["c"], client_reference="u")
        for payment_id in (ours, other):
            await move(status, payment_id, snapshot(), succeeded(), succeeded(refund_pending=1), succeeded(refunded=1))

        async def found(**wanted: Any) -> list[tuple[int, str]]:
            async with feed(status, cursor=cursor, close_when="CLOSE_WHEN_CAUGHT_UP", **wanted) as changes:
                seen = await changes.rest()
            assert {payment_id for payment_id, _, _ in seen} == {ours}
            return [change[1:] for change in seen]

        everything = [(1, "ENTERED"), (2, "INSIDE"), (3, "INSIDE"), (4, "INSIDE"), (5, "INSIDE")]
        for name, value in (("payer_id", "p"), ("seller_id", "s"), ("booking_id", "b"), ("client_reference", "r")):
            assert await found(**{name: value}) == everything
        assert await found(payer_id="p", seller_id="s", booking_id="b", client_reference="r") == everything
        unsettled = [(1, "ENTERED"), (2, "INSIDE"), (3, "LEFT"), (4, "ENTERED"), (5, "LEFT")]
        assert await found(payer_id="p", unsettled_only=True) == unsettled
        assert await found(payer_id="p", states=["PAYMENT_STATE_SUCCEEDED"]) == [
            (3, "ENTERED"),
            (4, "INSIDE"),
            (5, "LEFT"),
        ]


async def test_a_total_and_attention_move_a_payment_in_and_out_of_the_filter(replica: Replica) -> None:
    async with tenant(replica, "feed_narrow") as status:
        cursor = (await status.ListPayments(list_request())).cursor
        ours = await opened(status, total=money(500))
        other = await opened(status, total=money(500, "EUR"))
        for payment_id in (ours, other):
            dearer = {"total_minor": 900, "quote_id": "quote_2"}
            await move(
                status, payment_id, snapshot(**dearer), snapshot(**dearer, attentions=attentions("STUCK")), snapshot()
            )

        async def found(**wanted: Any) -> list[tuple[int, str]]:
            async with feed(status, cursor=cursor, close_when="CLOSE_WHEN_CAUGHT_UP", **wanted) as changes:
                return [change[1:] for change in await changes.rest() if change[0] == ours]

        assert await found(currency_code="CHF", total_min_minor=501) == [
            (2, "ENTERED"),
            (3, "INSIDE"),
            (4, "LEFT"),
        ]
        assert await found(attention_only=True) == [(3, "ENTERED"), (4, "LEFT")]
        assert await found(attention_reasons=["STUCK"]) == [(3, "ENTERED"), (4, "LEFT")]
        assert await found(attention_reasons=["SURPLUS"]) == []
        assert await found(currency_code="EUR") == []


async def test_live_changes_are_filtered_as_read_ones_are(replica: Replica) -> None:
    async with tenant(replica, "feed_live") as status:
        ours = await opened(status, payer_id="p", seller_ids=["s"], booking_ids=["b"])
        other = await opened(status, payer_id="q", seller_ids=["t"], booking_ids=["c"])
        async with feed(status, booking_id="b", unsettled_only=True) as changes:
            await changes.next()
            for payment_id in (other, ours):
                await move(status, payment_id, snapshot(), succeeded(), succeeded(refunded=1))
            end = await opened(status, booking_ids=["b"])
            seen = await changes.until(end, 1)

    assert [change for change in seen if change != (ours, 1, "ENTERED")] == [
        (ours, 2, "INSIDE"),
        (ours, 3, "LEFT"),
        (end, 1, "ENTERED"),
    ]


@pytest.mark.parametrize(("subject", "role"), [("anna", "payer"), ("shop", "seller")])
async def test_payers_and_sellers_follow_their_own(replica: Replica, subject: str, role: str) -> None:
    name = f"feed_own_{role}"
    theirs: dict[str, Any] = {"payer_id": "anna", "seller_ids": ["shop"]}
    async with tenant(replica, name) as status, replica.connect(subject, roles=[role], tenant=name) as caller:
        cursor = (await status.ListPayments(list_request())).cursor
        first = await opened(status, **theirs)
        await opened(status, payer_id="bert", seller_ids=["other"])
        async with feed(caller, cursor=cursor) as changes:
            assert await changes.until(first, 1) == [(first, 1, "ENTERED")]
            await opened(status, payer_id="bert", seller_ids=["other"])
            second = await opened(status, **theirs)
            assert await changes.until(second, 1) == [(second, 1, "ENTERED")]


async def test_a_feed_hears_what_other_replicas_write(
    replica: Replica, database: ServiceDatabase, issuer: Issuer
) -> None:
    async with (
        running_replica(database.runtime_url, issuer=issuer) as other,
        tenant(replica, "feed_replicas") as here,
        tenant(other, "feed_replicas") as there,
        feed(here) as changes,
    ):
        await changes.next()
        payment_id = await opened(there)
        async with asyncio.timeout(WITHIN_S):
            await changes.until(payment_id, 1)
            for expected in range(1, 40):
                writer = here if expected % 2 else there
                await move(writer, payment_id, STEPS[expected], expected=expected)
            seen = await changes.until(payment_id, 40)

    assert [revision for _, revision, _ in seen if revision > 1] == list(range(2, 41))


async def test_many_consumers_and_writers_agree(make_database: MakeDatabase, issuer: Issuer) -> None:
    database = await make_database("status")
    limits = StreamLimits(queue_bytes_max=4_000)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as first,
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as second,
        first.connect() as here,
        second.connect() as there,
    ):
        payment_ids = [await opened(here) for _ in range(10)]

        async def write(payment_id: str) -> None:
            for expected in range(1, 40):
                writer = here if (expected + len(payment_id)) % 2 else there
                await move(writer, payment_id, STEPS[expected], expected=expected)

        async def consume(status: StatusServiceStub, pieces: int) -> set[tuple[str, int]]:
            """Read a feed, and begin it anew from its cursor now and then."""
            seen: set[tuple[str, int]] = set()
            cursor = start
            while len(seen) < 39 * len(payment_ids):
                async with feed(status, cursor=cursor) as changes:
                    while len(seen) < 39 * len(payment_ids) and changes.messages < pieces:
                        seen |= {change[:2] for change in await changes.next() if change[1] > 1}
                cursor = changes.cursor
            return seen

        start = (await here.ListPayments(list_request())).cursor
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            consumers = [group.create_task(consume(status, 5 + 3 * n)) for n in range(4) for status in (here, there)]
            for payment_id in payment_ids:
                group.create_task(write(payment_id))

    everything = {(payment_id, revision) for payment_id in payment_ids for revision in range(2, 41)}
    assert all(consumer.result() == everything for consumer in consumers)


async def test_a_quiet_feed_says_that_it_lives_and_how_far_it_is(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(heartbeat_s=0.05)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        tenant(replica, "feed_quiet") as status,
        feed(status, payer_id="nobody") as changes,
    ):
        for _ in range(3):
            assert await changes.next() == []
            assert changes.cursor


@pytest.mark.parametrize(
    ("limits", "reason"), [(StreamLimits(stream_age_max_s=1.0), "STREAM_TOO_OLD"), (StreamLimits(), "SHUTTING_DOWN")]
)
async def test_a_feed_that_has_to_end_says_why(
    database: ServiceDatabase, issuer: Issuer, limits: StreamLimits, reason: str
) -> None:
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        tenant(replica, "feed_end") as status,
        feed(status) as changes,
    ):
        if reason == "SHUTTING_DOWN":  # the other may be too old before it has said anything
            await changes.next()
            await replica.drain()
        with pytest.raises(aio.AioRpcError) as error:
            await changes.rest()

    assert refusal_of(error.value).reason == reason


async def test_a_cursor_lies_before_transactions_that_left_no_trace(database: ServiceDatabase, issuer: Issuer) -> None:
    """After a crash PostgreSQL gives their numbers again."""
    async with running_replica(database.runtime_url, issuer=issuer) as replica, tenant(replica, "traces") as status:
        await opened(status)
        before = (await status.ListPayments(pb.ListPaymentsRequest())).cursor
        connection = await asyncpg.connect(plain_dsn(database.runtime_url))
        for _ in range(3):
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("SELECT pg_current_xact_id()")
            await transaction.rollback()
        await connection.close()

        assert (await status.ListPayments(pb.ListPaymentsRequest())).cursor == before
        async with feed(status) as changes:
            await changes.next()
            assert changes.cursor == before


async def test_a_history_from_another_server_does_not_start(make_database: MakeDatabase, issuer: Issuer) -> None:
    database = await make_database("status")
    engine = make_engine(database.runtime_url, application_name="status-tests")
    async with running_replica(database.runtime_url, issuer=issuer) as replica:
        for name in ("one", "two"):
            async with tenant(replica, name) as status:
                await opened(status)
    await check_order(engine, timeout_s=0)
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    await owner.execute("UPDATE transitions SET xid = '4611686018427387904' WHERE tenant_id = 'two'")
    await owner.close()

    with pytest.raises(OrderBroken, match="restore"):
        await check_order(engine, timeout_s=0)

    await engine.dispose()


async def test_a_cursor_that_is_none_of_ours_is_refused(replica: Replica) -> None:
    async with tenant(replica, "feed_cursor") as status, tenant(replica, "feed_other") as other:
        foreign = (await other.ListPayments(list_request())).cursor
        ahead = cursor_of({ONLY: Position(2**62)}, tenant_id="feed_cursor")
        nonsense = cursor_of({ONLY: Position(5, "pay_1", 3)}, tenant_id="feed_cursor")
        elsewhere = cursor_of({ONLY: Position(5), ONLY + 1: Position(5)}, tenant_id="feed_cursor")
        for cursor in ("x", "=" * 40, foreign, foreign + "x", ahead, nonsense, elsewhere):
            async with feed(status, cursor=cursor) as changes:
                refusal = await refused(changes.next())
            assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "CURSOR_INVALID", "cursor")


def test_a_cursor_has_room_for_a_position_on_each_server() -> None:
    longest = Position(XID_END - 1, f"pay_{'Z' * 26}", XID_END - 1)
    positions = dict.fromkeys(range(SHARDS_MAX), longest)

    cursor = cursor_of(positions, tenant_id="main")

    assert positions_of(cursor, tenant_id="main") == positions
    assert len(cursor) <= TOKEN_CHARACTERS_MAX


async def test_a_feed_that_makes_no_sense_is_refused(status: StatusServiceStub) -> None:
    for fields, path in (
        ({"states": [99]}, "filter.states[0]"),
        ({"payer_id": "x" * 129}, "filter.payer_id"),
        ({"close_when": 7}, "close_when"),
    ):
        async with feed(status, **fields) as changes:  # type: ignore[arg-type]
            refusal = await refused(changes.next())
        assert (refusal.reason, refusal.field) == ("FIELD_INVALID", path)

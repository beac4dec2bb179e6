"""Months of history: made in time, taken out when nothing is awaited any more, and what is promised even then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import payment_pb2
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.database.connections import plain_dsn, role_of
from services.status.storage.retention import MONTHS_AHEAD, Maintained, maintain
from tests.conftest import MakeDatabase
from tests.eventually import WITHIN_S
from tests.status.conftest import StatusServiceStub, running_replica
from tests.status.samples import (
    list_request,
    open_request,
    record_request,
    refused,
    snapshot,
    succeeded,
)
from tests.status.streaming import add, watch_many
from tests.status.watching import header, rest, revisions, watch

BEGIN = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOVEMBER = date(2026, 11, 1)
MONTHS = 3


class Calendar:
    """The time of the service under test."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
async def own(make_database: MakeDatabase) -> ServiceDatabase:
    return await make_database("status")


@pytest.fixture
async def status(own: ServiceDatabase, issuer: Issuer, calendar: Calendar) -> AsyncIterator[StatusServiceStub]:
    """Status on a database of the test's own; a token lives as long as the test's calendar."""
    async with (
        running_replica(own.runtime_url, issuer=issuer, now=calendar) as replica,
        replica.connect(life=timedelta(days=4_000)) as stub,
    ):
        yield stub


async def maintained(database: ServiceDatabase, now: datetime) -> Maintained:
    role = role_of(database.runtime_url)
    return await maintain(database.owner_url, runtime_role=role, now=now, history_months=MONTHS)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(url))
    try:
        yield connection
    finally:
        await connection.close()


async def opened(status: StatusServiceStub, *snapshots: object) -> str:
    payment_id = (await status.OpenPayment(open_request())).payment.payment_id
    for expected, to in enumerate(snapshots, start=1):
        await status.RecordTransition(record_request(payment_id, expected=expected, to=to))
    return payment_id


async def rows_in(database: ServiceDatabase, table: str) -> int:
    async with connected(database.owner_url) as owner:
        count: int = await owner.fetchval(f"SELECT count(*) FROM {table}")
        return count


async def test_months_are_made_ahead_and_once(own: ServiceDatabase) -> None:
    first = await maintained(own, BEGIN)
    second = await maintained(own, BEGIN)

    assert first.made == (NOVEMBER, date(2026, 12, 1), date(2027, 1, 1), date(2027, 2, 1))
    assert len(first.made) == MONTHS_AHEAD + 1
    assert second == Maintained(made=(), taken_out=(), kept_unsettled=())


async def test_what_was_written_before_its_month_was_made_moves_there(
    own: ServiceDatabase, status: StatusServiceStub
) -> None:
    payment_id = await opened(status, snapshot(), snapshot("PROCESSING"))
    assert await rows_in(own, "transitions_other") == 3

    await maintained(own, BEGIN)
    await status.RecordTransition(record_request(payment_id, expected=3, to=succeeded()))

    assert (await rows_in(own, "transitions_other"), await rows_in(own, "transitions_2026_11")) == (0, 4)
    async with watch(status, payment_id, after_revision=0) as responses:
        await header(responses)
        assert await revisions(responses, upto=4) == [1, 2, 3, 4]


async def test_a_request_that_is_repeated_while_its_month_is_made_writes_once(
    own: ServiceDatabase, status: StatusServiceStub
) -> None:
    payment_id = await opened(status)
    request = record_request(payment_id, expected=1, to=snapshot())
    first = await status.RecordTransition(request)

    async def repeat(expected: int) -> int:
        again = pb.RecordTransitionRequest()
        again.CopyFrom(request)
        again.expected_revision = expected
        return (await status.RecordTransition(again)).transition.revision

    await asyncio.gather(*[repeat(1) for _ in range(50)])  # the statements are prepared on every connection
    *revisions_written, made = await asyncio.gather(*[repeat(2) for _ in range(50)], maintained(own, BEGIN))
    after = [await repeat(expected) for expected in (1, 2, 3)]

    assert NOVEMBER in made.made
    assert {*revisions_written, *after} == {first.transition.revision} == {2}
    assert await rows_in(own, "transitions") == 2


async def test_the_runtime_role_reaches_a_month_through_the_history_alone(own: ServiceDatabase) -> None:
    await maintained(own, BEGIN)

    async with connected(own.runtime_url) as runtime:
        for statement in (
            "SELECT FROM transitions_2026_11",
            "UPDATE transitions_2026_11 SET state = 'FAILED'",
            "DELETE FROM transitions_2026_11",
            "DELETE FROM transitions_other",
            "UPDATE transitions SET state = 'FAILED'",
            "INSERT INTO compactions VALUES ('main', '2026-11-01', '5', now())",
            "DELETE FROM compactions",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await runtime.execute(statement)


async def test_a_month_stays_while_it_is_young_or_something_of_it_is_awaited(
    own: ServiceDatabase, status: StatusServiceStub
) -> None:
    await maintained(own, BEGIN)
    await opened(status, snapshot(), succeeded())
    open_end = await opened(status, snapshot(), succeeded(refund_pending=1))

    assert (await maintained(own, datetime(2027, 2, 28, tzinfo=UTC))).taken_out == ()
    awaited = await maintained(own, datetime(2027, 3, 1, tzinfo=UTC))
    assert (awaited.taken_out, awaited.kept_unsettled) == ((), (NOVEMBER,))

    await status.RecordTransition(record_request(open_end, expected=3, to=succeeded(refunded=1)))
    assert (await maintained(own, datetime(2027, 3, 1, tzinfo=UTC))).taken_out == (NOVEMBER,)
    assert await rows_in(own, "transitions_2026_11") == 7
    assert await rows_in(own, "transitions") == 0


async def test_a_payment_whose_history_was_taken_out_stands_and_goes_on(
    own: ServiceDatabase, status: StatusServiceStub, calendar: Calendar
) -> None:
    await maintained(own, BEGIN)
    payment_id = await opened(status, snapshot(), succeeded())
    calendar.now = datetime(2027, 3, 1, tzinfo=UTC)
    assert (await maintained(own, calendar.now)).taken_out == (NOVEMBER,)

    stands = (await status.GetPayment(pb.GetPaymentRequest(payment_id=payment_id))).payment
    assert stands.revision == 3
    async with watch(status, payment_id, after_revision=3) as responses:
        await header(responses)
        late = record_request(payment_id, expected=3, to=succeeded(disputed_open=5))
        assert (await status.RecordTransition(late)).transition.revision == 4
        assert (await status.RecordTransition(late)).transition.revision == 4, "a repeat is still recognised"
        assert await revisions(responses, upto=4) == [4]
    assert await rows_in(own, "transitions_other") == 1
    assert (await maintained(own, calendar.now)).made == ()


@pytest.mark.parametrize("is_moved_later", [False, True])
async def test_a_watcher_of_a_forgotten_revision_hears_that_it_is(
    own: ServiceDatabase, status: StatusServiceStub, calendar: Calendar, is_moved_later: bool
) -> None:
    await maintained(own, BEGIN)
    payment_id = await opened(status, snapshot(), succeeded())
    calendar.now = datetime(2027, 3, 1, tzinfo=UTC)
    await maintained(own, calendar.now)
    if is_moved_later:
        await status.RecordTransition(record_request(payment_id, expected=3, to=succeeded(disputed_open=5)))

    for fields in ({}, {"latest_only": True}):
        async with watch(status, payment_id, after_revision=1, **fields) as responses:
            seen, refusal = await rest_of(responses, upto=4 if is_moved_later and fields else None)
            if is_moved_later and fields:
                assert (seen, refusal) == ([4], None), "who wants the newest alone lacks nothing"
                continue
        assert seen == []
        assert refusal is not None
        assert (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "REVISION_COMPACTED")
        assert refusal.metadata["oldest_revision"] == "4"
    async with watch_many(status) as many:
        await many.say(add(payment_id, after_revision=2))
        await many.created(payment_id)
        end = await many.canceled(payment_id)
        assert (end.reason, end.metadata["oldest_revision"]) == ("REVISION_COMPACTED", "4")
    listed = await refused(status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment_id, after_revision=1)))
    assert (listed.code, listed.reason) == ("OUT_OF_RANGE", "REVISION_COMPACTED")


async def rest_of(responses: object, *, upto: int | None) -> tuple[list[int], object]:
    await header(responses)  # type: ignore[arg-type]
    if upto is not None:
        return await revisions(responses, upto=upto), None  # type: ignore[arg-type]
    return await rest(responses)  # type: ignore[arg-type]


async def test_a_feed_from_before_what_was_taken_out_is_refused(
    own: ServiceDatabase, status: StatusServiceStub, calendar: Calendar
) -> None:
    await maintained(own, BEGIN)
    before = (await status.ListPayments(list_request())).cursor
    await opened(status, snapshot(), succeeded())
    after = (await status.ListPayments(list_request())).cursor
    calendar.now = datetime(2027, 3, 1, tzinfo=UTC)
    await maintained(own, calendar.now)

    async with streaming(status.WatchPayments(pb.WatchPaymentsRequest(cursor=before), timeout=WITHIN_S)) as responses:
        refusal = await refused(anext(responses))
    assert (refusal.code, refusal.reason, refusal.field) == ("OUT_OF_RANGE", "CURSOR_COMPACTED", "cursor")
    async with streaming(status.WatchPayments(pb.WatchPaymentsRequest(cursor=after), timeout=WITHIN_S)) as responses:
        assert not (await anext(responses)).changes


async def test_months_that_nobody_made_in_time_are_made_up_for(
    own: ServiceDatabase, status: StatusServiceStub, calendar: Calendar
) -> None:
    settled = await opened(status, snapshot(), succeeded())
    calendar.now = datetime(2026, 12, 3, tzinfo=UTC)
    unsettled = await opened(status, snapshot())

    run = await maintained(own, datetime(2027, 5, 20, tzinfo=UTC))

    december = date(2026, 12, 1)
    assert run.made[:3] == (NOVEMBER, december, date(2027, 5, 1))
    assert (run.taken_out, run.kept_unsettled) == ((NOVEMBER,), (december,))
    async with watch(status, unsettled, after_revision=0) as responses:
        await header(responses)
        assert await revisions(responses, upto=2) == [1, 2]
    listed = status.ListTransitions(pb.ListTransitionsRequest(payment_id=settled))
    assert (await refused(listed)).reason == "REVISION_COMPACTED"


async def test_a_history_that_is_in_use_for_too_long_is_left_for_the_next_run(
    own: ServiceDatabase, status: StatusServiceStub
) -> None:
    await maintained(own, BEGIN)
    await opened(status, snapshot(), succeeded())
    async with connected(own.runtime_url) as reader, reader.transaction():
        await reader.fetch("SELECT FROM transitions")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await maintained(own, datetime(2027, 3, 1, tzinfo=UTC))

    assert (await maintained(own, datetime(2027, 3, 1, tzinfo=UTC))).taken_out == (NOVEMBER,)


async def test_a_late_move_leaves_a_filter_though_what_was_before_is_forgotten(
    own: ServiceDatabase, status: StatusServiceStub, calendar: Calendar
) -> None:
    await maintained(own, BEGIN)
    payment_id = await opened(status, snapshot(), succeeded())
    calendar.now = datetime(2027, 3, 1, tzinfo=UTC)
    assert (await maintained(own, calendar.now)).taken_out == (NOVEMBER,)
    page = await status.ListPayments(list_request(states=["PAYMENT_STATE_SUCCEEDED"]))
    assert [payment.payment_id for payment in page.payments] == [payment_id]

    late = succeeded(disputed_open=5)
    moved = await status.RecordTransition(record_request(payment_id, expected=3, to=late))

    assert moved.payment.state == payment_pb2.PAYMENT_STATE_DISPUTED
    request = pb.WatchPaymentsRequest(
        filter=pb.PaymentFilter(states=[payment_pb2.PAYMENT_STATE_SUCCEEDED]),
        cursor=page.cursor,
        close_when=pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP,
    )
    async with streaming(status.WatchPayments(request, timeout=WITHIN_S)) as responses:
        changes = [change async for message in responses for change in message.changes]
    assert [(change.payment.revision, change.relation) for change in changes] == [
        (4, pb.WatchPaymentsResponse.RELATION_LEFT)
    ]

"""What status counts moves when it happens, once, and says how soon it was told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from grpc import aio

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import Meter
from services.status.watches.send_queue import StreamLimits
from tests.eventually import eventually, persistently
from tests.metrics import Figures
from tests.status.conftest import Clock, move, running_replica
from tests.status.samples import open_request, record_request, snapshot, succeeded
from tests.status.streaming import add, watch_many
from tests.status.watching import header, rest, watch


class Counted:
    """A replica that counts, its clock, and what it has counted."""

    def __init__(self, status: StatusServiceStub, meter: Meter, clock: Clock) -> None:
        self.status = status
        self.meter = meter
        self.clock = clock

    async def figures(self) -> Figures:
        return Figures.read(await self.meter.text())


@pytest.fixture
async def counted(database: ServiceDatabase, issuer: Issuer) -> AsyncIterator[Counted]:
    meter, clock = Meter(), Clock()
    async with (
        running_replica(database.runtime_url, issuer=issuer, now=clock, meter=meter) as replica,
        replica.connect() as status,
    ):
        yield Counted(status, meter, clock)


async def test_a_transition_is_counted_once_however_often_it_is_sent(counted: Counted) -> None:
    opened = (await counted.status.OpenPayment(open_request())).payment
    request = record_request(opened.payment_id, expected=1, to=snapshot())
    for _ in range(3):
        await counted.status.RecordTransition(request)
    now = await counted.figures()
    recorded = "batzen_transitions_recorded_total"
    assert now.of(recorded, state="INITIALIZED") == 1
    assert now.of(recorded, state="REQUIRES_PAYMENT_METHOD") == 1
    assert now[recorded] == 2


async def test_an_opening_that_is_repeated_is_counted_once(counted: Counted) -> None:
    request = open_request()
    for _ in range(2):
        await counted.status.OpenPayment(request)
    assert (await counted.figures())["batzen_transitions_recorded_total"] == 1


async def test_a_state_is_measured_when_it_is_left(counted: Counted) -> None:
    opened = (await counted.status.OpenPayment(open_request())).payment
    await move(counted.status, opened.payment_id, snapshot(), snapshot("PROCESSING"))
    counted.clock.pass_by(timedelta(seconds=3))
    await move(counted.status, opened.payment_id, snapshot("PROCESSING", reason="OUTCOME_UNKNOWN"), expected=3)
    counted.clock.pass_by(timedelta(seconds=4))
    before = await counted.figures()
    assert before.of("batzen_payment_state_seconds_count", state="PROCESSING") == 0
    await move(counted.status, opened.payment_id, succeeded(), expected=4)
    now = await counted.figures()
    assert now.of("batzen_payment_state_seconds_count", state="PROCESSING") == 1
    assert now.of("batzen_payment_state_seconds_sum", state="PROCESSING") == 7


async def test_what_another_process_recorded_is_not_guessed(counted: Counted, status: StatusServiceStub) -> None:
    opened = (await counted.status.OpenPayment(open_request())).payment
    await move(status, opened.payment_id, snapshot("REQUIRES_PAYMENT_METHOD"))
    await move(counted.status, opened.payment_id, snapshot("PROCESSING"), expected=2)
    assert (await counted.figures())["batzen_payment_state_seconds_count"] == 0


async def test_a_watch_is_counted_while_it_lasts_and_its_lag_as_it_is_told(counted: Counted) -> None:
    payment_id = (await counted.status.OpenPayment(open_request())).payment.payment_id
    await move(counted.status, payment_id, snapshot())
    async with watch(counted.status, payment_id, after_revision=0) as responses:
        await header(responses)
        now = await counted.figures()
        assert now["batzen_watches_open"] == now["batzen_watch_streams_open"] == 1
        assert now["batzen_watch_first_update_seconds_count"] == 1
        async for response in responses:
            if response.updates.transitions and response.updates.transitions[-1].revision == 2:
                break
        assert (await counted.figures())["batzen_watch_lag_seconds_count"] == 0  # it was there before
        await counted.status.RecordTransition(record_request(payment_id, expected=2, to=snapshot("PROCESSING")))
        await anext(responses)
        await eventually(lambda: is_counted(counted, "batzen_watch_lag_seconds_count", 1))
    await eventually(lambda: is_counted(counted, "batzen_watches_open", 0))
    await eventually(lambda: is_ended(counted, "left"))


async def test_a_watch_of_many_is_counted_too(counted: Counted) -> None:
    payment_id = (await counted.status.OpenPayment(open_request())).payment.payment_id
    async with watch_many(counted.status) as many:
        await many.say(add(payment_id))
        await many.created(payment_id)
        await eventually(lambda: is_counted(counted, "batzen_watch_first_update_seconds_count", 1))
        await move(counted.status, payment_id, snapshot())
        await many.revisions(payment_id, upto=2)
        await eventually(lambda: is_counted(counted, "batzen_watch_lag_seconds_count", 1))


async def test_a_stream_says_why_it_ended(database: ServiceDatabase, issuer: Issuer) -> None:
    meter = Meter()
    limits = StreamLimits(stream_age_max_s=1.0)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits, meter=meter) as replica,
        replica.connect() as status,
    ):
        counted = Counted(status, meter, Clock())
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(status, payment_id) as responses:
            _, error = await rest(responses)
        assert error is not None
        assert error.reason == "STREAM_TOO_OLD"
        await eventually(lambda: is_ended(counted, "STREAM_TOO_OLD"))
        await move(status, payment_id, snapshot(), succeeded())
        settled = pb.WatchPaymentRequest(payment_id=payment_id, close_when=pb.WatchPaymentRequest.CLOSE_WHEN_SETTLED)

        async def read_to_the_end() -> bool:
            return bool([response async for response in status.WatchPayment(settled)])

        assert await persistently(read_to_the_end, again=aio.AioRpcError)  # which may be too old as well
        await eventually(lambda: is_ended(counted, "ended"))


async def test_a_feed_is_behind_while_it_cannot_see_the_head(counted: Counted, database: ServiceDatabase) -> None:
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    async with streaming(counted.status.WatchPayments(pb.WatchPaymentsRequest())) as responses:
        await anext(aiter(responses))
        await eventually(lambda: is_counted(counted, "batzen_feed_behind_seconds", 0))
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT pg_current_xact_id()")  # from here on nothing later is in order
        await move(counted.status, (await counted.status.OpenPayment(open_request())).payment.payment_id, snapshot())
        await eventually(lambda: is_behind(counted))
        await transaction.rollback()
        await eventually(lambda: is_counted(counted, "batzen_feed_behind_seconds", 0))
    await connection.close()


async def is_behind(counted: Counted) -> bool:
    return (await counted.figures())["batzen_feed_behind_seconds"] > 0


async def test_no_more_payments_are_remembered_than_may_be(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.status.metrics.STATES_KNOWN_MAX", 1)
    first, second = [(await counted.status.OpenPayment(open_request())).payment for _ in range(2)]
    await move(counted.status, second.payment_id, snapshot())
    await move(counted.status, first.payment_id, snapshot())
    assert (await counted.figures())["batzen_payment_state_seconds_count"] == 1


async def is_counted(counted: Counted, name: str, count: float) -> bool:
    return (await counted.figures())[name] == count


async def is_ended(counted: Counted, reason: str) -> bool:
    return (await counted.figures()).of("batzen_watch_ends_total", reason=reason) == 1

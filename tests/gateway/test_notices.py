"""Notices reach the orchestrator: each once it is there, under the same id at each try, or a person hears."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from grpc import aio

from batzen.gateway.v1 import observation_pb2 as pb
from services.gateway.call_log import backoff
from services.gateway.dead_letters.listing import DeadLetterList
from services.gateway.deliveries.sink import DeliveryRefused
from services.gateway.notices.metrics import NoticeMetrics
from services.gateway.notices.noticed import of_payout
from services.gateway.notices.outbox import Notices
from services.gateway.payouts.store import PayoutStore
from services.gateway.wiring import Parts
from services.runtime.database.connections import reading
from services.runtime.observability.metrics import Meter
from services.runtime.work import dead_letters as letters
from services.runtime.work.dead_letters import EVERY
from services.runtime.work.kinds import RetryLater, Work, WorkClass
from tests.clock import Clock
from tests.gateway.samples import new_id
from tests.gateway.test_checkout_crashes import Died
from tests.gateway.test_delivery import (  # noqa: F401 fixtures
    IMPATIENT,
    Sink,
    clock,
    depth_is,
    is_done,
    orchestrator,
    parts,
    place,
    sink,
    working,
)
from tests.gateway.test_payouts import sight
from tests.metrics import Figures

Place = tuple[Parts, aio.Channel, int]


async def failed(parts: Parts) -> str:  # noqa: F811
    """Have the gateway see a payout that failed, as an event shows it; return the id of the notice of it."""
    shown = sight("failed", payout_id=new_id("po"), seller_id=new_id("seller"), failure_code="account_closed")
    notices = list(of_payout(shown))
    store = PayoutStore(parts.connections, clock=parts.clock)
    for _ in range(2):  # events come twice
        await store.record("main", [shown], notices)
    return str(notices[0].notice_id)


async def row_of(parts: Parts, notice_id: str) -> Any:  # noqa: F811
    async with reading(parts.engine) as connection:
        found = await connection.execute(sa.text("SELECT * FROM notices WHERE notice_id = :id"), {"id": notice_id})
        return found.one()


async def deliver(notices: Notices, notice_id: str) -> None:
    """Make a delivery once, as the engine does."""
    await notices.deliver(Work(kind=notices.work, tenant_id="main", key=(notice_id,), fence=1, failures=0))


class Stub:
    """The sink's stub of a process that may die, before the sink is asked or after it answered."""

    def __init__(self, sink: Sink, *, is_asked: bool = True, dies: bool = False) -> None:  # noqa: F811
        self._sink, self._is_asked, self._dies = sink, is_asked, dies

    async def DeliverNotice(self, request: pb.DeliverNoticeRequest, timeout: float) -> None:
        if self._is_asked:
            await self._sink.DeliverNotice(request, None)
        if self._dies:
            raise Died


async def test_a_notice_says_what_happened_and_is_delivered_once(parts: Parts, sink: Sink) -> None:  # noqa: F811
    notice_id = await failed(parts)
    async with working(parts, kind=parts.notices.work) as (held, engine):
        await depth_is(held, engine, is_done)
    await deliver(parts.notices, notice_id)

    (heard,) = sink.notices
    assert (heard.notice_id, heard.kind) == (notice_id, pb.Notice.KIND_PAYOUT_FAILED)
    assert (heard.payment_id, len(heard.seller_ids), heard.values["failure_code"]) == ("", 1, "account_closed")
    assert heard.occur_time.ToDatetime(UTC) == sight("failed").shown_time
    row = await row_of(parts, notice_id)
    assert (row.failures, row.due_time) == (0, None)
    assert row.delivered_time is not None


@pytest.mark.parametrize("is_asked", [False, True], ids=["before it is sent", "before its answer is noted"])
async def test_a_process_that_dies_leaves_a_notice_that_is_delivered_as_the_same(
    parts: Parts,  # noqa: F811
    sink: Sink,  # noqa: F811
    is_asked: bool,
) -> None:
    notice_id = await failed(parts)
    dying: Any = Stub(sink, is_asked=is_asked, dies=True)
    with pytest.raises(Died):
        await deliver(Notices(parts.connections, dying, now=parts.clock.now), notice_id)
    assert (await row_of(parts, notice_id)).delivered_time is None

    async with working(parts, kind=parts.notices.work) as (held, engine):
        await depth_is(held, engine, is_done)

    assert len(sink.notices) == 1 + is_asked
    assert all(one == sink.notices[0] for one in sink.notices)


async def test_an_orchestrator_that_is_away_is_waited_for(place: Place, parts: Parts) -> None:  # noqa: F811
    notice_id = await failed(parts)
    async with working(parts, kind=parts.notices.work) as (held, engine):
        await depth_is(held, engine, lambda depth: depth.later == 1)
        async with orchestrator(place) as sink:
            await sink.until(lambda: [one.notice_id for one in sink.notices] == [notice_id])
            await depth_is(held, engine, is_done)

    assert (await row_of(parts, notice_id)).failures == 0


async def test_waiting_is_no_failure_until_it_takes_days(parts: Parts, sink: Sink, clock: Clock) -> None:  # noqa: F811
    sink.refuses = grpc.StatusCode.UNAVAILABLE
    notice_id = await failed(parts)
    with pytest.raises(RetryLater):
        await deliver(parts.notices, notice_id)
    clock.advance(backoff.WAIT_MAX + timedelta(minutes=1))

    with pytest.raises(DeliveryRefused, match="UNAVAILABLE"):
        await deliver(parts.notices, notice_id)


async def test_a_notice_that_is_refused_waits_for_an_operator_and_can_be_replayed(
    parts: Parts,  # noqa: F811
    sink: Sink,  # noqa: F811
) -> None:
    sink.refuses = grpc.StatusCode.INVALID_ARGUMENT
    notice_id = await failed(parts)
    async with working(parts, kind=parts.notices.work, retry=IMPATIENT) as (held, engine):
        await depth_is(held, engine, lambda depth: depth.dead == 1)
        (kind,) = engine.kinds
        (letter,) = await letters.dead_letters(held, [kind], tenant_id="main", after=None, limit=10)
        assert (letter.dead_letter_id, letter.about) == (f"notices/{notice_id}", "PAYOUT_FAILED")
        assert len(letter.tries) == 2
        listing = DeadLetterList(held, engine, parts.bodies)
        (listed,), _ = await listing.page("main", chosen=EVERY, page_size=1, page_token="", with_payload=True)
        assert (listed.subject_id, listed.payloads[0].subject_type) == (notice_id, "PAYOUT_FAILED")
        assert b"account_closed" in listed.payloads[0].body

        sink.refuses = None
        assert await letters.replay(held, kind, letter.key, tenant_id="main")
        engine.wake(WorkClass.DELIVERIES)
        await sink.until(lambda: [one.notice_id for one in sink.notices] == [notice_id])
        await depth_is(held, engine, is_done)


async def test_what_was_delivered_is_counted_by_its_kind(parts: Parts, sink: Sink) -> None:  # noqa: F811
    meter = Meter()
    stub: Any = Stub(sink)
    counted = Notices(parts.connections, stub, now=parts.clock.now, metrics=NoticeMetrics(meter))

    await deliver(counted, await failed(parts))

    figures = Figures.read(await meter.text())
    assert figures.of("batzen_notices_delivered_total", kind="PAYOUT_FAILED") == 1

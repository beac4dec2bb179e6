"""An operator stops new payments of a tenant: at once, on every replica, and nothing but new payments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.metrics import OrchestratorMetrics
from services.orchestrator.wiring import look_at_switches
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import Meter
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import (
    CREATE,
    TOTAL_MINOR,
    Clock,
    Refusal,
    cancel,
    new_id,
    refund,
    refused,
    start,
    state_of,
    submit,
)
from tests.orchestrator.test_quoting import quote_request

PAUSED = ("FAILED_PRECONDITION", "STARTS_PAUSED")
AT_ONCE = 12
ROUNDS_MIN, ROUNDS_MAX = 4, 40
"""Of starts that a pause may meet."""


def pause(**changes: Any) -> ops_pb2.PauseStartsRequest:
    fields: dict[str, Any] = {"request_id": new_id(), "actor_id": "anna", "reason": "prices are wrong"}
    return ops_pb2.PauseStartsRequest(**(fields | changes))


def resume(**changes: Any) -> ops_pb2.ResumeStartsRequest:
    fields: dict[str, Any] = {"request_id": new_id(), "actor_id": "bo", "reason": "prices are right"}
    return ops_pb2.ResumeStartsRequest(**(fields | changes))


def said(refusal: Refusal) -> tuple[str, str]:
    return refusal.code, refusal.reason


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One orchestrator, as a shop and as an operator call it."""

    shop: OrchestratorServiceStub
    ops: OrchestratorOpsServiceStub


@asynccontextmanager
async def called(running: Orchestrator) -> AsyncIterator[Replica]:
    async with running.connect() as shop, running.connect_ops() as ops:
        yield Replica(shop=shop, ops=ops)


@pytest.fixture
async def replicas(world: World, replica: Orchestrator) -> AsyncIterator[list[Replica]]:
    """Two orchestrators that take new payments, and do so again afterwards."""
    async with called(replica) as first, world.orchestrator() as running, called(running) as second:
        yield [first, second]
        await first.ops.ResumeStarts(resume())


@pytest.fixture
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


async def history(ops: OrchestratorOpsServiceStub, **fields: Any) -> ops_pb2.ListStartSwitchesResponse:
    return await ops.ListStartSwitches(ops_pb2.ListStartSwitchesRequest(**fields))


async def test_every_replica_refuses_at_once_and_the_same_call_starts_the_payment_later(
    replicas: list[Replica],
) -> None:
    first, second = replicas
    end = Timestamp()
    end.FromDatetime(datetime(2030, 5, 1, 12, tzinfo=UTC))

    await first.ops.PauseStarts(pause(public_message="We are back at noon.", expected_end_time=end))

    asked = [start(), start()]
    for one in (first, second):
        for request in asked:
            refusal = await refused(one.shop.StartPayment(request))
            assert said(refusal) == PAUSED
            assert refusal.metadata == {
                "public_message": "We are back at noon.",
                "expected_end_time": "2030-05-01T12:00:00Z",
            }
    await second.ops.PauseStarts(pause())  # says less, and takes the other's place
    assert (await refused(first.shop.StartPayment(asked[0]))).metadata == {}
    await second.ops.ResumeStarts(resume())
    for one, request in zip(replicas, asked, strict=True):
        assert (await one.shop.StartPayment(request)).session.client_secret


async def test_what_was_started_goes_on_and_a_repeat_gets_its_answer(
    replicas: list[Replica], journeys: Journeys
) -> None:
    first, second = replicas
    asked = start()
    started = await first.shop.StartPayment(asked)
    payment_id = started.session.payment.payment_id
    other_id, third_id = await journeys.started(), await journeys.paid()

    await first.ops.PauseStarts(pause())

    for one in (first, second):
        assert (await one.shop.StartPayment(asked)).session == started.session
        refusal = await refused(one.shop.StartPayment(start(request_id=asked.request_id, session_name="other")))
        assert refusal.reason == "REQUEST_ID_REUSED"
    assert state_of((await second.shop.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"
    assert state_of((await second.shop.CancelPayment(cancel(other_id))).payment) == "CANCELED"
    assert (await second.shop.RefundPayment(refund(third_id))).amount.amount_minor == TOTAL_MINOR
    assert said(await refused(first.shop.StartPayment(start()))) == PAUSED


async def test_a_start_that_was_accepted_just_before_comes_to_its_end(
    replicas: list[Replica], world: World, journeys: Journeys
) -> None:
    first, second = replicas
    asked = start()
    await world.stripe.fault("pause", route=CREATE, times=1)
    under_way = asyncio.ensure_future(first.shop.StartPayment(asked))
    await world.stripe.until_paused()

    await second.ops.PauseStarts(pause())
    repeat = asyncio.ensure_future(first.shop.StartPayment(asked))
    assert said(await refused(second.shop.StartPayment(start()))) == PAUSED
    await world.stripe.resume()

    answers = await asyncio.gather(under_way, repeat)
    assert answers[0] == answers[1]
    assert len(await journeys.intents(answers[0].session.payment.payment_id)) == 1


async def test_starts_that_meet_the_pause_are_each_accepted_or_refused_as_a_whole(
    replicas: list[Replica], owner: asyncpg.Connection
) -> None:
    known = "SELECT count(*) FROM requests WHERE request_id = $1"
    accepted = rounds = 0
    while rounds < ROUNDS_MIN or accepted == rounds * AT_ONCE:
        assert rounds < ROUNDS_MAX, "no start meets a pause"
        rounds += 1
        asked = [start() for _ in range(AT_ONCE)]

        async def answered(place: int, request: pb.StartPaymentRequest) -> str:
            try:
                return (await replicas[place % 2].shop.StartPayment(request)).session.payment.payment_id
            except aio.AioRpcError as error:
                return "" if error.code().name == PAUSED[0] else f"failed: {error}"

        starting = [asyncio.ensure_future(answered(place, request)) for place, request in enumerate(asked)]
        await replicas[1].ops.PauseStarts(pause())
        late = await asyncio.gather(*(refused(one.shop.StartPayment(start())) for one in replicas * 3))
        assert {said(refusal) for refusal in late} == {PAUSED}
        came = await asyncio.gather(*starting)
        for request, payment_id in zip(asked, came, strict=True):
            assert await owner.fetchval(known, request.request_id) == bool(payment_id)
        accepted += sum(map(bool, came))
        await replicas[0].ops.ResumeStarts(resume())
        for request, payment_id in zip(asked, came, strict=True):  # the same id starts what was refused
            session = (await replicas[0].shop.StartPayment(request)).session
            assert payment_id in ("", session.payment.payment_id)


async def test_a_start_does_not_wait_for_a_switch_that_is_being_turned(
    replicas: list[Replica], owner: asyncpg.Connection
) -> None:
    first, second = replicas
    await first.ops.PauseStarts(pause())
    await first.ops.ResumeStarts(resume())
    turning = owner.transaction()
    await turning.start()
    await owner.execute("UPDATE start_switches SET paused = true WHERE tenant_id = 'main'")

    assert (await second.shop.StartPayment(start())).session.client_secret
    await turning.commit()

    assert said(await refused(second.shop.StartPayment(start()))) == PAUSED


async def test_while_new_payments_are_stopped_pricing_is_not_asked(replicas: list[Replica], world: World) -> None:
    await replicas[0].ops.PauseStarts(pause())
    # The first may be priced beside, which nobody waits for; one with coupons is not.
    await refused(replicas[0].shop.StartPayment(start(coupon_codes=["SOMETHING"])))

    asked = [start() for _ in range(3)]
    for request in asked:
        assert said(await refused(replicas[0].shop.StartPayment(request))) == PAUSED

    pricing = await asyncpg.connect(plain_dsn(world.pricing_database.owner_url))
    count = "SELECT count(*) FROM quotes WHERE request_id::text = ANY($1::text[])"
    assert await pricing.fetchval(count, [quote_request(request).request_id for request in asked]) == 0
    await pricing.close()


async def test_a_tenant_stops_its_own_alone_and_only_operators_do(
    replicas: list[Replica], replica: Orchestrator
) -> None:
    async with replica.connect_ops(tenant="other") as ops, replica.connect(tenant="other") as shop:
        await ops.PauseStarts(pause(reason="theirs"))
        assert said(await refused(shop.StartPayment(start()))) == PAUSED
        assert (await replicas[0].shop.StartPayment(start())).session.client_secret
        assert "theirs" not in {one.reason for one in (await history(replicas[0].ops)).start_switches}
        meter = Meter()
        metrics = OrchestratorMetrics(meter)
        await look_at_switches(replica.parts.start_switches, metrics)
        assert 'batzen_starts_paused{tenant="other"} 1.0' in (await meter.text()).decode()
        await ops.ResumeStarts(resume())
        await look_at_switches(replica.parts.start_switches, metrics)
        assert 'batzen_starts_paused{tenant="other"} 0.0' in (await meter.text()).decode()
        assert (await refused(shop.StartPayment(start()))).reason != "STARTS_PAUSED"

    for subject, role in (("shop", "service"), ("payer_1", "payer")):
        async with replica.connect_ops(subject, roles=[role]) as ops:
            for call in (ops.PauseStarts(pause()), ops.ResumeStarts(resume()), history(ops)):
                assert (await refused(call)).code == "PERMISSION_DENIED"


async def test_a_repeat_says_what_the_first_did_and_nothing_twice(replicas: list[Replica]) -> None:
    asked = pause(public_message="soon")
    answers = await asyncio.gather(*(replicas[place % 2].ops.PauseStarts(asked) for place in range(AT_ONCE)))
    await replicas[0].ops.ResumeStarts(resume())

    assert await replicas[1].ops.PauseStarts(asked) == answers[0]  # and does not stop them again
    assert all(answer == answers[0] for answer in answers)
    kept = [one for one in (await history(replicas[0].ops)).start_switches if one.public_message == "soon"]
    assert kept == [answers[0].start_switch]
    assert (await replicas[0].shop.StartPayment(start())).session.client_secret
    changed = pause(request_id=asked.request_id, public_message="later")
    assert (await refused(replicas[0].ops.PauseStarts(changed))).reason == "REQUEST_ID_REUSED"


async def test_the_history_ends_with_how_it_stands_whoever_turned_it_at_once(
    replicas: list[Replica], owner: asyncpg.Connection, clock: Clock
) -> None:
    before = clock.now()
    await asyncio.gather(
        *(
            replicas[place % 2].ops.PauseStarts(pause())
            if place % 3
            else replicas[place % 2].ops.ResumeStarts(resume())
            for place in range(AT_ONCE)
        )
    )

    newest = (await history(replicas[0].ops, page_size=AT_ONCE)).start_switches
    assert len(newest) == AT_ONCE
    assert {(one.paused, one.actor_id, one.reason) for one in newest} == {
        (True, "anna", "prices are wrong"),
        (False, "bo", "prices are right"),
    }
    assert all(one.create_time.ToDatetime(tzinfo=UTC) >= before for one in newest)
    assert await owner.fetchval("SELECT paused FROM start_switches WHERE tenant_id = 'main'") == newest[0].paused
    page = await history(replicas[1].ops, page_size=5)
    rest = await history(replicas[1].ops, page_size=AT_ONCE - 5, page_token=page.next_page_token)
    assert [*page.start_switches, *rest.start_switches] == list(newest)
    assert (await refused(history(replicas[0].ops, page_token="x"))).reason == "PAGE_TOKEN_INVALID"


async def test_the_role_that_serves_cannot_change_what_was_said(database: ServiceDatabase) -> None:
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    try:
        for change in (
            "UPDATE start_switch_changes SET actor_id = 'x'",
            "DELETE FROM start_switch_changes",
            "DELETE FROM start_switches",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_id": ""}, "request_id"),
        ({"actor_id": ""}, "actor_id"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"public_message": "x" * 201}, "public_message"),
        ({"expected_end_time": Timestamp(seconds=2**60)}, "expected_end_time"),
    ],
)
async def test_what_is_wrong_is_refused_by_its_field(
    replicas: list[Replica], changes: dict[str, Any], field: str
) -> None:
    assert (await refused(replicas[0].ops.PauseStarts(pause(**changes)))).field == field
    if field in ("request_id", "actor_id", "reason"):
        assert (await refused(replicas[0].ops.ResumeStarts(resume(**changes)))).field == field

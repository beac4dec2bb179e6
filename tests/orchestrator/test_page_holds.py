"""A hold that its payer agreed to on a hosted page is captured, released and lapses as any other."""

from __future__ import annotations

from datetime import timedelta

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.wire import timestamp
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import TOTAL_MINOR, cancel, capture, hold, state_of

PART_MINOR = 3_333
HOUR = timedelta(hours=1)


async def held_on_a_page(orchestrator: OrchestratorServiceStub, journeys: Journeys, **changes: object) -> str:
    """Return a payment whose page is complete and unpaid, and whose money is held."""
    asked = hold(collection=pb.COLLECTION_CHECKOUT, cancel_url="https://shop.example/cart", **changes)
    session = (await orchestrator.StartPayment(asked)).session
    payment_id = session.payment.payment_id
    await journeys.stripe.pay_session(session.checkout_url)
    payment = (await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))).payment
    assert (state_of(payment), payment.snapshot.amounts.capturable_minor) == ("AUTHORIZED", TOTAL_MINOR)
    assert payment.snapshot.HasField("hold_expire_time")
    return payment_id


async def captured(journeys: Journeys, payment_id: str) -> list[int]:
    return [charge["amount_captured"] for charge in await journeys.charges(payment_id)]


async def test_it_is_captured_in_parts_and_the_rest_released(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await held_on_a_page(orchestrator, journeys)
    assert (await journeys.plan(payment_id)).next_step == "WARN_HOLD"
    payment = (await orchestrator.CapturePayment(capture(payment_id, PART_MINOR))).payment
    assert state_of(payment) == "AUTHORIZED"
    payment = (await orchestrator.CancelPayment(cancel(payment_id))).payment
    assert (state_of(payment), await captured(journeys, payment_id)) == ("SUCCEEDED", [PART_MINOR])


async def test_it_is_cancelled(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await held_on_a_page(orchestrator, journeys)
    payment = (await orchestrator.CancelPayment(cancel(payment_id))).payment
    assert (state_of(payment), await captured(journeys, payment_id)) == ("CANCELED", [0])


@pytest.mark.parametrize("is_planned", [True, False], ids=["captured at its time", "lapsed"])
async def test_its_time_comes(
    is_planned: bool, world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    changes = {"capture_time": timestamp(world.clock.now() + HOUR)} if is_planned else {}
    payment_id = await held_on_a_page(orchestrator, journeys, **changes)
    for by in (HOUR, timedelta(days=8), HOUR, 2 * HOUR):
        world.clock.advance(by)
        await world.stripe.advance(0)
        await replica.sweep()
    expected = ("SUCCEEDED", [TOTAL_MINOR]) if is_planned else ("EXPIRED", [0])
    assert (state_of(await journeys.payment(payment_id)), await captured(journeys, payment_id)) == expected

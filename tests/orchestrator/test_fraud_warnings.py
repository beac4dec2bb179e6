"""What is done by itself while the card's issuer warns of fraud, or a review is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from batzen.gateway.v1 import observation_pb2
from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.peers import Peers
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import mortal_orchestrator, parts_of
from tests.orchestrator.lives import Lives
from tests.orchestrator.samples import TOTAL_MINOR, capture, chf, new_id, refund, state_of
from tests.orchestrator.test_money_policies import put

SOON = timedelta(hours=3)


class Overtaken:
    """The real gateway, which hears something newer right before it is asked what is refundable."""

    def __init__(self, real: Any, hears: Callable[[], Awaitable[None]]) -> None:
        self._real = real
        self._hears = hears

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def refundable(self, payment_id: str) -> Any:
        await self._hears()
        return await self._real.refundable(payment_id)


@pytest.fixture
async def giving_back(replica: Orchestrator) -> str:
    """Return a session type of which a payment that is warned of is given back."""
    session_type = f"careful_{new_id()}"[:64]
    policy = ops_pb2.MoneyPolicy(fraud_warning=ops_pb2.MoneyPolicy.FRAUD_WARNING_REFUND)
    async with replica.connect_ops() as ops:
        await ops.PutPolicy(put(session_type, policy))
    return session_type


async def settled(journeys: Journeys, payment_id: str) -> observation_pb2.PaymentObservation | None:
    """Return what the gateway knows once each seller has what is theirs; it takes that back by itself, after a refund.

    What it says of that is newer than a warning that a test made up, and says that there is none.
    """
    seen = await journeys.synced(payment_id)
    is_captured = seen.amounts.captured_minor > 0
    is_moving = is_captured and any(one.owed_minor != one.transferred_minor for one in seen.sellers)
    return None if is_moving else seen


async def warned(journeys: Journeys, payment_id: str) -> observation_pb2.PaymentObservation:
    """Return what the gateway says once the issuer warns, where it has nothing newer to say by itself."""
    seen = await eventually(lambda: settled(journeys, payment_id))
    seen.mirror_version += 1
    seen.is_held_back = seen.early_fraud_warning = True
    return seen


async def refunds(journeys: Journeys, payment_id: str) -> list[int]:
    return [one["amount"] for one in await journeys.refunds(payment_id)]


async def test_what_is_warned_of_is_given_back_once(
    giving_back: str, journeys: Journeys, replica: Orchestrator, orchestrator: OrchestratorServiceStub
) -> None:
    payment_id = await journeys.paid(session_type=giving_back)
    await orchestrator.RefundPayment(refund(payment_id, 1_000))
    for _ in range(2):  # the issuer says it again, and nothing is left
        await journeys.deliver(await warned(journeys, payment_id))
        await replica.sweep()
    assert sorted(await refunds(journeys, payment_id)) == [1_000, TOTAL_MINOR - 1_000]
    assert state_of(await journeys.payment(payment_id)) == "REFUNDED"


async def test_a_warning_that_was_over_before_anything_went_back_leaves_another_one_its_refund(
    giving_back: str, journeys: Journeys, replica: Orchestrator
) -> None:
    payment_id = await journeys.paid(session_type=giving_back)
    await journeys.deliver(await warned(journeys, payment_id))
    [intent] = await journeys.intents(payment_id)

    async def hears() -> None:
        await journeys.stripe.refund(intent["id"], amount=1_000)
        await journeys.synced(payment_id)

    real = replica.parts.peers
    overtaken: Any = Overtaken(real.gateway, hears)
    peers = Peers(pricing=real.pricing, status=real.status, gateway=overtaken)
    parts = parts_of(replica, store=replica.parts.store, peers=peers)
    await replica.engine(*parts.sweep.kinds).once()
    assert await refunds(journeys, payment_id) == [1_000]
    await journeys.deliver(await warned(journeys, payment_id))
    await replica.sweep()
    assert sorted(await refunds(journeys, payment_id)) == [1_000, TOTAL_MINOR - 1_000]


async def test_without_a_policy_a_person_decides(journeys: Journeys, replica: Orchestrator) -> None:
    payment_id = await journeys.paid()
    await journeys.deliver(await warned(journeys, payment_id))
    await replica.sweep()
    assert await refunds(journeys, payment_id) == []


async def test_a_refund_by_policy_that_died_is_made_once(
    giving_back: str, journeys: Journeys, replica: Orchestrator, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.paid(session_type=giving_back)
        await journeys.deliver(await warned(journeys, payment_id))
        async with mortal_orchestrator(replica, life) as (_, engine):
            await engine.once()
        await replica.sweep()
        assert await refunds(journeys, payment_id) == [TOTAL_MINOR], life.place


async def test_a_hold_that_is_held_back_is_captured_by_a_caller_alone(
    world: World, journeys: Journeys, replica: Orchestrator, orchestrator: OrchestratorServiceStub
) -> None:
    held = [await journeys.held(capture_time=world.clock.now() + SOON) for _ in range(2)]
    for payment_id in held:
        await journeys.deliver(await warned(journeys, payment_id))
    await replica.sweep()
    answer = await orchestrator.CapturePayment(capture(held[0], 4_000, final_capture=True))
    assert answer.payment.snapshot.amounts.captured_minor == 4_000

    # The gateway says nothing new when it is asked: the warning is open, until it is over.
    world.clock.advance(SOON + timedelta(seconds=5))
    await replica.sweep()
    assert state_of(await journeys.payment(held[1])) == "AUTHORIZED"

    seen = await journeys.synced(held[1])
    seen.mirror_version += 2
    await journeys.deliver(seen)
    for _ in range(2):  # one that met an outage is tried again
        world.clock.advance(timedelta(hours=1))
        await replica.sweep()
    assert (await journeys.payment(held[1])).snapshot.amounts.captured_minor == TOTAL_MINOR


async def test_a_scheduled_charge_waits_until_it_is_not_held_back(
    world: World, journeys: Journeys, replica: Orchestrator
) -> None:
    payment_id = await journeys.scheduled(world.clock.now() + timedelta(days=3))
    await journeys.deliver(await warned(journeys, payment_id))
    await replica.sweep()
    world.clock.advance(timedelta(days=3, seconds=5))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "SCHEDULED"

    seen = await journeys.synced(payment_id)
    seen.mirror_version += 2
    await journeys.deliver(seen)
    for _ in range(2):  # one that met an outage is tried again
        world.clock.advance(timedelta(hours=1))
        await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.total) == ("SUCCEEDED", chf(TOTAL_MINOR))

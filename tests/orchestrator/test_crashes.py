"""The process dies at each place of each journey: whoever comes next finishes it, and nothing happens twice."""

from __future__ import annotations

from contextlib import suppress

import pytest

from batzen.gateway.v1 import contacts_pb2
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.domain.policies import ABANDONED_AFTER
from services.shared.refusals import Refusal
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Life, Lives
from tests.orchestrator.samples import (
    DECLINED,
    OPENED,
    TOTAL_MINOR,
    VISA,
    Clock,
    cancel,
    new_id,
    refund,
    refused,
    start,
    state_of,
    submit,
)


@pytest.fixture(params=["repeat", "sweep"])
async def is_swept(request: pytest.FixtureRequest) -> bool:
    """Who comes next: the sweep, or only the caller with the same request."""
    return request.param == "sweep"


async def reached(replica: Orchestrator, payer_id: str) -> tuple[str, str, str]:
    """Return how a payer is reached: what only the caller of a start knows, and nobody who goes on with it."""
    world = replica.world
    async with world.channel(world.ports["gateway"], "orchestrator") as gateway:
        asked = contacts_pb2.GetContactRequest(payer_id=payer_id)
        found = (await ContactServiceStub(gateway).GetContact(asked)).contact
    return found.email, found.name, found.locale


async def test_a_start_that_died(
    is_swept: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payer = pb.Payer(payer_id=new_id(), email="ada@example.ch", name="Ada", locale="de-CH")
        asked = start(payer=payer)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        session = (await orchestrator.StartPayment(asked)).session
        payment_id = session.payment.payment_id
        assert await reached(replica, payer.payer_id) == ("ada@example.ch", "Ada", "de-CH"), life.place
        assert session.client_secret, life.place
        assert await journeys.states(payment_id) == OPENED, life.place
        assert len(await journeys.intents(payment_id)) == 1, life.place
        assert (await journeys.plan(payment_id)).pending_steps == [], life.place


async def test_a_start_that_died_and_is_repeated_keeps_what_only_the_caller_knows(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payer = pb.Payer(payer_id=new_id(), email="ada@example.ch")
    asked = start(payer=payer)
    async with mortal_orchestrator(replica, Life(ends_at=2)) as (parts, _):
        await ask(parts, asked)
    payment = (await orchestrator.StartPayment(asked)).session.payment
    [intent] = await journeys.intents(payment.payment_id)
    [customer] = await journeys.stripe.objects("customer", id=intent["customer"])
    assert customer["email"] == "ada@example.ch"


async def test_a_submit_that_died(
    is_swept: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        asked = submit(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED", life.place
        assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "SUCCEEDED"], life.place
        assert len(await journeys.charges(payment_id)) == 1, life.place
        await replica.tell()
        assert (await journeys.plan(payment_id)).pending_steps == [], life.place


async def test_a_submit_that_died_after_it_applied_what_was_delivered_before(
    is_swept: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    """A card was declined in the browser, and nobody has applied it yet: the submit is a step of its own then."""
    for life in lives():
        session = (await orchestrator.StartPayment(start())).session
        payment_id = session.payment.payment_id
        await journeys.stripe.browser_confirm(session.client_secret, payment_method=DECLINED)
        await journeys.deliver(await journeys.synced(payment_id))
        asked = submit(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED", life.place
        await replica.sweep()
        declined = [*OPENED, OPENED[-1]]
        assert await journeys.states(payment_id) == [*declined, "PROCESSING", "SUCCEEDED"], life.place
        assert len(await journeys.charges(payment_id)) == 1, life.place
        assert not (await journeys.payment(payment_id)).snapshot.HasField("attention"), life.place


async def test_a_declined_submit_that_died(
    is_swept: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        asked = submit(payment_id, DECLINED)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        declined = (await orchestrator.SubmitPayment(asked)).payment
        assert declined.snapshot.last_error.code == "card_declined", life.place
        assert declined.snapshot.decline_count == 1, life.place
        assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", OPENED[-1]], life.place


async def test_a_submit_of_a_method_that_stripe_does_not_take_blames_the_method_also_after_it_died(
    is_swept: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        asked = submit(payment_id, "pm_nobody_made_this")
        async with mortal_orchestrator(replica, life) as (parts, _):
            with suppress(Refusal):
                await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        refusal = await refused(orchestrator.SubmitPayment(asked))
        assert (refusal.reason, refusal.field) == ("METHOD_REFUSED", "payment_method_id"), life.place
        assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", OPENED[-1]], life.place


async def test_a_cancel_that_died(
    is_swept: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        asked = cancel(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        assert state_of((await orchestrator.CancelPayment(asked)).payment) == "CANCELED", life.place
        assert await journeys.states(payment_id) == [*OPENED, "CANCELED"], life.place
        assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"], life.place


async def test_a_refund_that_died(
    is_swept: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.paid()
        asked = refund(payment_id, 2_500)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        assert state_of((await orchestrator.RefundPayment(asked)).payment) == "PARTIALLY_REFUNDED", life.place
        assert (await journeys.states(payment_id))[-2:] == ["SUCCEEDED", "PARTIALLY_REFUNDED"], life.place
        assert [one["amount"] for one in await journeys.refunds(payment_id)] == [2_500], life.place


async def test_an_expiry_that_died(replica: Orchestrator, journeys: Journeys, clock: Clock, lives: Lives) -> None:
    for life in lives():
        payment_id = await journeys.started()
        clock.advance(ABANDONED_AFTER)
        async with mortal_orchestrator(replica, life) as (_, engine):
            await engine.once()
        await replica.sweep()
        assert await journeys.states(payment_id) == [*OPENED, "EXPIRED"], life.place
        assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"], life.place


async def test_a_delivery_whose_sweep_died(replica: Orchestrator, journeys: Journeys, lives: Lives) -> None:
    for life in lives():
        payment_id = await journeys.started()
        [intent] = await journeys.intents(payment_id)
        await journeys.stripe.succeed(intent["id"])
        await journeys.deliver(await journeys.synced(payment_id))
        async with mortal_orchestrator(replica, life) as (_, engine):
            await engine.once()
        await replica.sweep()
        assert await journeys.states(payment_id) == [*OPENED, "SUCCEEDED"], life.place
        assert (await journeys.payment(payment_id)).snapshot.amounts.captured_minor == TOTAL_MINOR, life.place


async def test_a_cancel_that_died_and_met_a_payer_who_had_paid_is_refused(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        session = (await orchestrator.StartPayment(start())).session
        payment_id = session.payment.payment_id
        await journeys.stripe.browser_confirm(session.client_secret, payment_method=VISA)
        asked = cancel(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            with suppress(Refusal):
                await ask(parts, asked)
        await journeys.deliver(await journeys.synced(payment_id))
        await replica.sweep()
        refusal = await refused(orchestrator.CancelPayment(asked))
        assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED"), life.place

"""A payment to a seller who cannot be paid is refused before there is anything: no intent, and no payment."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from batzen.gateway.v1 import sellers_pb2
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.status.v1 import status_pb2
from batzen.vocabularies import refusal_word
from services.orchestrator.domain.policies import RETRY_MAX
from services.orchestrator.wire.requests import derived_payment_id
from tests.gateway.samples import new_id as new_seller_id
from tests.gateway.stubs import GatewayStubs
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import shop_key
from tests.orchestrator.samples import line, new_id, page, refused, scheduled, start

INTENTS = ("payment_intent", "setup_intent", "checkout.session")


async def seller(world: World) -> sellers_pb2.SellerAccount:
    """Put a seller with an account of their own."""
    request = sellers_pb2.PutSellerAccountRequest(
        request_id=new_id(), seller_id=new_seller_id("seller"), country_code="CH", email="seller@example.ch"
    )
    async with world.channel(world.ports["gateway"], "shop") as channel:
        return (await GatewayStubs(channel).PutSellerAccount(request)).account


async def test_a_start_for_a_seller_who_cannot_be_paid_opens_nothing(
    world: World, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    account = await seller(world)
    await world.stripe.set_capability(account.stripe_account_id, "transfers", active=False)
    lines = [line(seller_id=account.seller_id)]
    later = scheduled(world.clock.now() + timedelta(days=3), lines=lines)

    # What is charged later names no account to Stripe yet: it is refused by what the one before it brought to light.
    for asked in (start(lines=lines), page(lines=lines), later):
        for _ in range(2):  # a repeat is answered alike
            refusal = await refused(orchestrator.StartPayment(asked))
            assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "SELLER_NOT_PAYABLE")
            assert refusal.field == "lines"
            assert refusal.metadata == {"seller_id": account.seller_id, "missing": "transfers"}
        payment_id = derived_payment_id(shop_key(asked))
        call = journeys.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))
        assert (await refused(call)).reason == "PAYMENT_NOT_FOUND"
        for kind in INTENTS:
            assert await world.stripe.objects(kind, **{"metadata.payment_id": payment_id}) == []
    assert refusal_word("SELLER_NOT_PAYABLE") == "COACH_PAYMENTS_NOT_CONFIGURED"

    await world.stripe.set_capability(account.stripe_account_id, "transfers", active=True)
    later.request_id = new_id()
    assert (await orchestrator.StartPayment(later)).session.payment.payment_id


async def test_a_start_for_a_seller_nobody_put_is_refused(orchestrator: OrchestratorServiceStub) -> None:
    nobody = new_seller_id("seller")

    refusal = await refused(orchestrator.StartPayment(start(lines=[line(seller_id=nobody)])))

    assert (refusal.code, refusal.reason, refusal.field) == ("NOT_FOUND", "SELLER_NOT_FOUND", "lines")
    assert refusal.metadata == {"seller_id": nobody}
    assert refusal_word(refusal.reason) == "COACH_PAYMENTS_NOT_CONFIGURED"


async def test_a_payment_that_was_opened_while_the_gateway_was_away_fails_and_does_not_stay_open(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    account = await seller(world)
    asked = start(lines=[line(seller_id=account.seller_id)])
    async with world.orchestrator(away=frozenset({"gateway"})) as cut_off, cut_off.connect() as stub:
        assert (await refused(stub.StartPayment(asked))).code == "UNAVAILABLE"
    await world.stripe.disconnect_account(account.stripe_account_id)
    world.clock.advance(RETRY_MAX)

    await asyncio.gather(replica.sweep(), orchestrator.StartPayment(asked), return_exceptions=True)

    payment = (await orchestrator.StartPayment(asked)).session.payment
    assert await journeys.states(payment.payment_id) == ["INITIALIZED", "FAILED"]
    error = payment.snapshot.last_error
    assert (error.code, error.recoverable) == ("seller_not_payable", False)
    assert error.message == "This payment could not be set up."
    assert refusal_word(payment.snapshot.last_error.code) == "COACH_PAYMENTS_NOT_CONFIGURED"

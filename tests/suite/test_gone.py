"""What was there before and is gone at Stripe, or what Stripe does not take: the payer pays all the same."""

from __future__ import annotations

import secrets

import pytest

from batzen import errors
from batzen.client import new_request_id
from batzen.orchestrator.v1 import orchestrator_pb2
from tests.suite.journeys import JOURNEYS, Traveller, state_name


async def test_a_payer_whose_customer_was_deleted_at_stripe_pays_again(traveller: Traveller) -> None:
    journey, ends = JOURNEYS["deleted customer"]

    for _ in range(2):
        payment_id = await journey(traveller)
        await traveller.until(payment_id, ends.state)
        await traveller.check(payment_id, ends)


async def test_a_payer_whose_address_stripe_does_not_take_pays(traveller: Traveller) -> None:
    traveller.payer_id = f"payer_{secrets.token_hex(6)}"
    request = traveller.start_request()
    request.payer.email = "pia@localhost"

    session = (await traveller.shop.orchestrator.StartPayment(request)).session

    assert state_name(session.payment.state) == "REQUIRES_PAYMENT_METHOD"
    [customer] = await traveller.sandbox.objects("customer", **{"metadata.payer_id": traveller.payer_id})
    assert (customer["email"], customer["name"]) == (None, "Pia Payer")


async def test_what_is_no_id_of_a_method_leaves_it_the_payers_turn(traveller: Traveller) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    request = orchestrator_pb2.SubmitPaymentRequest(
        request_id=new_request_id(), payment_id=payment_id, payment_method_id="pm_1/../../refunds"
    )

    with pytest.raises(errors.FailedPrecondition) as refusal:
        await traveller.payer.orchestrator.SubmitPayment(request)

    assert refusal.value.reason == "METHOD_REFUSED"
    await traveller.submit(payment_id, "pm_card_visa")
    await traveller.until(payment_id, "SUCCEEDED")

"""Intents through the gateway: created, confirmed, declined, authenticated, cancelled, read again."""

from __future__ import annotations

from grpc import StatusCode

from batzen.gateway.v1 import gateway_pb2 as pb
from batzen.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from sandbox.control import SandboxControl
from tests.gateway.conftest import Sink
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCELED,
    FEE_MINOR,
    REQUIRES_ACTION,
    REQUIRES_CAPTURE,
    REQUIRES_PAYMENT_METHOD,
    SUCCEEDED,
    Payments,
    chf,
    new_id,
    refused,
    refusal,
)


async def test_an_intent_is_what_was_asked_for(gateway: GatewayServiceStub, payments: Payments) -> None:
    request = payments.create_request()

    answer = await gateway.CreateIntent(request)

    (intent,) = await payments.intents(request.payment_id)
    account = (await gateway.GetSellerAccount(pb.GetSellerAccountRequest(seller_id=payments.seller_id))).account
    assert (intent["amount"], intent["currency"], intent["application_fee_amount"]) == (AMOUNT_MINOR, "chf", FEE_MINOR)
    assert intent["transfer_data"]["destination"] == account.stripe_account_id
    assert intent["capture_method"] == "automatic_async"
    assert answer.client_secret == intent["client_secret"]
    seen = answer.observation
    assert (seen.payment_id, seen.attempt, seen.mirror_version) == (request.payment_id, 1, 1)
    assert seen.intent_state == REQUIRES_PAYMENT_METHOD
    assert seen.HasField("observe_time")
    assert not seen.HasField("attention")
    assert seen.amounts.captured_minor == 0

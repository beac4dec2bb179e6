"""Payments to test the gateway with, and how they are moved."""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Awaitable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc import aio

from batzen.gateway.v1 import intents_pb2, observation_pb2, payer_pb2, refunds_pb2, sellers_pb2
from batzen.type.v1 import money_pb2
from sandbox.control import SandboxControl
from tests.gateway.stubs import GatewayStubs
from tests.refusals import details_of

AMOUNT_MINOR = 10_000
FEE_MINOR = 1_500
RETURN_URL = "https://shop.example/return"

CANCELED = observation_pb2.INTENT_STATE_CANCELED
PROCESSING = observation_pb2.INTENT_STATE_PROCESSING
REQUIRES_ACTION = observation_pb2.INTENT_STATE_REQUIRES_ACTION
REQUIRES_CAPTURE = observation_pb2.INTENT_STATE_REQUIRES_CAPTURE
REQUIRES_PAYMENT_METHOD = observation_pb2.INTENT_STATE_REQUIRES_PAYMENT_METHOD
SUCCEEDED = observation_pb2.INTENT_STATE_SUCCEEDED

CONFIRM = "POST /v1/payment_intents/{intent}/confirm"
CREATE = "POST /v1/payment_intents"
CAPTURE = "POST /v1/payment_intents/{intent}/capture"
CANCEL = "POST /v1/payment_intents/{intent}/cancel"
REFUND = "POST /v1/refunds"
SETUP_CREATE = "POST /v1/setup_intents"
SETUP_CONFIRM = "POST /v1/setup_intents/{intent}/confirm"
SETUP_CANCEL = "POST /v1/setup_intents/{intent}/cancel"
SETUP_READ = "GET /v1/setup_intents/{intent}"
READ = "GET /v1/payment_intents/{intent}"


def new_id(kind: str) -> str:
    # Without digits: many of them in a row pass for a card number now and then, and are refused.
    return f"{kind}_{''.join(secrets.choice(string.ascii_lowercase) for _ in range(24))}"


def new_request_id() -> str:
    return str(uuid.uuid4())


def chf(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code="CHF")


class Payments:
    """Moves payments through the gateway; every request is complete, and `fields` replace ours."""

    def __init__(self, gateway: GatewayStubs, stripe: SandboxControl) -> None:
        self.gateway = gateway
        self.stripe = stripe
        self.seller_id = new_id("seller")

    async def prepare_seller(self, seller_id: str = "") -> sellers_pb2.SellerAccount:
        """Put a seller's account, and let it take charges."""
        request = self.put_seller_request(seller_id=seller_id or self.seller_id)
        account = (await self.gateway.PutSellerAccount(request)).account
        await self.stripe.enable_account(account.stripe_account_id, enabled=True)
        return account

    def put_seller_request(self, **fields: Any) -> sellers_pb2.PutSellerAccountRequest:
        ours: dict[str, Any] = {
            "request_id": new_request_id(),
            "seller_id": new_id("seller"),
            "country_code": "CH",
            "email": "seller@example.org",
        }
        return sellers_pb2.PutSellerAccountRequest(**{**ours, **fields})

    def create_request(self, **fields: Any) -> intents_pb2.CreateIntentRequest:
        ours: dict[str, Any] = {
            "request_id": new_request_id(),
            "payment_id": new_id("pay"),
            "attempt": 1,
            "payer": payer_pb2.Payer(payer_id=new_id("payer"), email="payer@example.org", name="Ada", locale="de-CH"),
            "amount": chf(AMOUNT_MINOR),
            "seller_id": self.seller_id,
            "application_fee": chf(FEE_MINOR),
            "description": "A lesson",
        }
        return intents_pb2.CreateIntentRequest(**{**ours, **fields})

    def confirm_request(self, payment_id: str, card: str = "visa", **fields: Any) -> intents_pb2.ConfirmIntentRequest:
        ours: dict[str, Any] = {
            "request_id": new_request_id(),
            "payment_id": payment_id,
            "attempt": 1,
            "payment_method_id": f"pm_card_{card}",
            "return_url": RETURN_URL,
        }
        return intents_pb2.ConfirmIntentRequest(**{**ours, **fields})

    def cancel_request(self, payment_id: str, **fields: Any) -> intents_pb2.CancelIntentRequest:
        ours: dict[str, Any] = {"request_id": new_request_id(), "payment_id": payment_id, "attempt": 1}
        return intents_pb2.CancelIntentRequest(**{**ours, **fields})

    def capture_request(
        self, payment_id: str, amount_minor: int = AMOUNT_MINOR, **fields: Any
    ) -> intents_pb2.CaptureIntentRequest:
        ours: dict[str, Any] = {
            "request_id": new_request_id(),
            "payment_id": payment_id,
            "amount": chf(amount_minor),
            "application_fee": chf(amount_minor * FEE_MINOR // AMOUNT_MINOR),
            "final_capture": True,
        }
        return intents_pb2.CaptureIntentRequest(**{**ours, **fields})

    def refund_request(
        self, payment_id: str, amount_minor: int, *, expected_minor: int = AMOUNT_MINOR, **fields: Any
    ) -> refunds_pb2.CreateRefundRequest:
        ours: dict[str, Any] = {
            "request_id": new_request_id(),
            "payment_id": payment_id,
            "amount": chf(amount_minor),
            "expected_refundable": chf(expected_minor),
            "reverse_transfer": True,
            "refund_application_fee": True,
            "actor_id": "operator_1",
        }
        return refunds_pb2.CreateRefundRequest(**{**ours, **fields})

    def borne_refund_request(self, payment_id: str, amount_minor: int) -> refunds_pb2.CreateRefundRequest:
        """Return one at the platform's cost: nothing is to come back from the seller, so nothing is done beside it."""
        return self.refund_request(payment_id, amount_minor, reverse_transfer=False, refund_application_fee=False)

    async def created(self, **fields: Any) -> str:
        """Return a payment with an intent."""
        return (await self.gateway.CreateIntent(self.create_request(**fields))).observation.payment_id

    async def held(self, card: str = "visa", **fields: Any) -> str:
        """Return a payment of which an amount is held."""
        payment_id = await self.created(capture_manually=True, **fields)
        seen = (await self.gateway.ConfirmIntent(self.confirm_request(payment_id, card))).observation
        assert seen.intent_state == REQUIRES_CAPTURE
        return payment_id

    async def kept(self, card: str = "visa", **fields: Any) -> str:
        """Return a payment whose first attempt kept a method."""
        payment_id = await self.created(setup_only=True, **fields)
        seen = (await self.gateway.ConfirmIntent(self.confirm_request(payment_id, card))).observation
        assert (seen.intent_state, seen.is_setup) == (SUCCEEDED, True)
        return payment_id

    async def paid(self, card: str = "visa", **fields: Any) -> str:
        """Return a payment that was paid."""
        payment_id = await self.created(**fields)
        seen = (await self.gateway.ConfirmIntent(self.confirm_request(payment_id, card))).observation
        assert seen.intent_state == SUCCEEDED
        return payment_id

    async def seen(self, payment_id: str) -> observation_pb2.PaymentObservation:
        """Return what is known, without asking Stripe."""
        return (await self.gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id))).observation

    async def synced(self, payment_id: str) -> observation_pb2.PaymentObservation:
        return (await self.gateway.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id))).observation

    async def intents(self, payment_id: str) -> list[dict[str, Any]]:
        """Return what there is at Stripe."""
        return await self.stripe.objects("payment_intent", **{"metadata.payment_id": payment_id})

    async def setups(self, payment_id: str) -> list[dict[str, Any]]:
        """Return the setups there are at Stripe."""
        return await self.stripe.objects("setup_intent", **{"metadata.payment_id": payment_id})

    async def intent_id(self, payment_id: str) -> str:
        """Return the id of the latest intent."""
        return str((await self.intents(payment_id))[-1]["id"])

    async def charges(self, payment_id: str) -> list[dict[str, Any]]:
        """Return the charges that took money."""
        found = []
        for intent in await self.intents(payment_id):
            found += await self.stripe.objects("charge", payment_intent=intent["id"], status="succeeded")
        return found

    async def refunds(self, payment_id: str) -> list[dict[str, Any]]:
        found = []
        for intent in await self.intents(payment_id):
            found += await self.stripe.objects("refund", payment_intent=intent["id"])
        return found


async def refused(call: Awaitable[Message]) -> tuple[grpc.StatusCode, str, str, dict[str, str]]:
    """Return status, reason, field and metadata of a call that must be refused."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    details = details_of(caught.value)
    return caught.value.code(), details.reason, details.field, details.metadata


def reason_of(error: aio.AioRpcError) -> str:
    """Return the reason of a refusal."""
    return details_of(error).reason


async def refusal(call: Awaitable[Message]) -> tuple[grpc.StatusCode, str]:
    """Return status and reason of a call that must be refused."""
    return (await refused(call))[:2]

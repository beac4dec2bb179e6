"""Hosted pages to test with: made through the gateway, paid as their payer would."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from batzen.gateway.v1 import checkout_pb2, observation_pb2
from sandbox.control import Refused
from tests.gateway.samples import Payments, chf, new_request_id

DONE_URL = "https://shop.example/done?session={CHECKOUT_SESSION_ID}"
BACK_URL = "https://shop.example/back"

CREATE_PAGE = "POST /v1/checkout/sessions"
EXPIRE_PAGE = "POST /v1/checkout/sessions/{session}/expire"
READ_PAGE = "GET /v1/checkout/sessions/{session}"

OPEN = checkout_pb2.CheckoutSession.STATE_OPEN
COMPLETE = checkout_pb2.CheckoutSession.STATE_COMPLETE
EXPIRED = checkout_pb2.CheckoutSession.STATE_EXPIRED

LINES = (
    checkout_pb2.CheckoutLine(name="A lesson", amount=chf(9_000), description="In the morning"),
    checkout_pb2.CheckoutLine(name="Skis", amount=chf(1_000)),
    checkout_pb2.CheckoutLine(name="A helmet, for nothing", amount=chf(0)),
)


class Pages:
    """Moves hosted pages through the gateway; every request is complete, and `fields` replace ours."""

    def __init__(self, payments: Payments) -> None:
        self.payments = payments
        self.gateway = payments.gateway
        self.stripe = payments.stripe

    def create_request(
        self, *, page: dict[str, Any] | None = None, **fields: Any
    ) -> checkout_pb2.CreateCheckoutSessionRequest:
        """Return a request whose intent has `fields`, and whose page has those of `page`."""
        ours: dict[str, Any] = {
            "intent": self.payments.create_request(**fields),
            "success_url": DONE_URL,
            "cancel_url": BACK_URL,
            "lines": () if fields.get("setup_only") else LINES,
        }
        return checkout_pb2.CreateCheckoutSessionRequest(**{**ours, **(page or {})})

    async def opened(
        self, *, page: dict[str, Any] | None = None, **fields: Any
    ) -> checkout_pb2.CreateCheckoutSessionResponse:
        """Return a page that waits for its payer."""
        return await self.gateway.CreateCheckoutSession(self.create_request(page=page, **fields))

    async def paid(self, card: str = "visa", **fields: Any) -> str:
        """Return a payment whose payer has just paid, which nobody told the gateway yet."""
        opened = await self.opened(**fields)
        await self.pay(opened.session.url, card)
        return opened.observation.payment_id

    async def pay(self, url: str, card: str = "visa") -> str:
        """Pay, and return where the payer is sent."""
        return await self.stripe.pay_session(url, payment_method=f"pm_{card}" if "_" in card else f"pm_card_{card}")

    async def decline(self, url: str) -> None:
        """Try to pay with a card that is declined."""
        with pytest.raises(Refused) as caught:
            await self.pay(url, "chargeDeclined")
        assert caught.value.status == httpx.codes.PAYMENT_REQUIRED

    async def expire(self, payment_id: str, **fields: Any) -> checkout_pb2.ExpireCheckoutSessionResponse:
        return await self.gateway.ExpireCheckoutSession(self.expire_request(payment_id, **fields))

    def expire_request(self, payment_id: str, **fields: Any) -> checkout_pb2.ExpireCheckoutSessionRequest:
        ours: dict[str, Any] = {"request_id": new_request_id(), "payment_id": payment_id}
        return checkout_pb2.ExpireCheckoutSessionRequest(**{**ours, **fields})

    async def got(self, payment_id: str) -> checkout_pb2.CheckoutSession:
        request = checkout_pb2.GetCheckoutSessionRequest(payment_id=payment_id)
        return (await self.gateway.GetCheckoutSession(request)).session

    async def sessions(self, payment_id: str) -> list[dict[str, Any]]:
        """Return what there is at Stripe."""
        return await self.stripe.objects("checkout.session", **{"metadata.payment_id": payment_id})

    async def session(self, payment_id: str) -> dict[str, Any]:
        """Return the only one at Stripe."""
        (only,) = await self.sessions(payment_id)
        return only


def amounts(seen: observation_pb2.PaymentObservation) -> tuple[int, int]:
    """Return what is captured and what is held."""
    return seen.amounts.captured_minor, seen.amounts.capturable_minor

"""Pricing: quotes, and what becomes of them."""

from __future__ import annotations

from batzen.pricing.v1 import pricing_pb2
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.peers.refusals import answered
from services.shared.refusals import Refusal

PEER = "pricing"


class Pricing:
    """What is asked of pricing."""

    def __init__(self, stub: PricingServiceStub) -> None:
        self._stub = stub

    async def create_quote(self, quote_request: bytes) -> pricing_pb2.Quote:
        """Price the lines; the same bytes give the same quote."""
        call = self._stub.CreateQuote(pricing_pb2.CreateQuoteRequest.FromString(quote_request))
        try:
            return (await answered(call, PEER)).quote
        except Refusal as refusal:
            if refusal.field is not None and refusal.field.startswith("locales"):
                refusal.field = f"display_{refusal.field}"  # as the caller knows it
            raise

    async def quote(self, quote_id: str) -> pricing_pb2.Quote:
        """Return a quote."""
        return (await answered(self._stub.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=quote_id)), PEER)).quote

    async def redeem_quote(self, *, payment_id: str, quote_id: str) -> bool:
        """Say that a quote was paid; return whether that takes a coupon over its limit. A repeat returns the same."""
        request = pricing_pb2.RedeemQuoteRequest(
            request_id=str(derived_id(payment_id, "step:redeem:1")), quote_id=quote_id
        )
        return (await answered(self._stub.RedeemQuote(request), PEER)).over_limit

    async def release_quote(self, *, payment_id: str, quote_id: str) -> None:
        """Say that a quote will not be paid."""
        request = pricing_pb2.ReleaseQuoteRequest(
            request_id=str(derived_id(payment_id, f"step:release:{quote_id}")), quote_id=quote_id
        )
        await answered(self._stub.ReleaseQuote(request), PEER)

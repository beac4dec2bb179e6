"""`/api/payments/refund`. It needs an `Idempotency-Key`: two refunds of one amount are not told apart otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import accumulate
from typing import Final

from fastapi import APIRouter

from batzen.errors import by_reason
from batzen.gateway.v1.refunds_pb2 import ListRefundsRequest
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money
from services.bff.api.legacy import models, views
from services.bff.api.legacy.payments import Answer, LegacyPayments
from services.bff.api.legacy.prices import minor_units
from services.bff.api.request_ids import of_key
from services.bff.api.who import NeededKey, Service
from services.bff.callers import Asker
from services.web.failures import Refusal
from services.web.front import Front

LOOKED_BACK_MAX: Final = 10
"""Refunds since a repeated one, at most, after which it is still known again."""


class LegacyRefunds:
    """The handler of refunds."""

    def __init__(self, front: Front, payments: LegacyPayments) -> None:
        self._front = front
        self._payments = payments

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.add_api_route("/refund", self.refund, methods=["POST"])

    async def refund(self, asker: Service, body: models.Refund, key: NeededKey) -> Answer:
        """Give money back to the payer: `amount` in major units, or all that is refundable."""
        refused: Exception = Refusal(404, "PAYMENT_NOT_FOUND")
        for payment in await self._payments.meant(asker, body):
            try:
                return await self._refund(asker, body, payment, request_id=of_key(asker, "refund", key))
            except by_reason["REQUEST_ID_REUSED"] as error:
                refused = error  # a repeat of a refund of another one, which is not made once more; or another wish
        raise refused

    async def _refund(self, asker: Asker, body: models.Refund, payment: Payment, *, request_id: str) -> Answer:
        currency_code = payment.total.currency_code
        amounts = payment.snapshot.amounts
        left_minor = amounts.captured_minor - amounts.refunded_minor - amounts.refund_pending_minor
        request = pb.RefundPaymentRequest(
            request_id=request_id,
            payment_id=payment.payment_id,
            amount=None if body.amount is None else minor_units(body.amount, currency_code=currency_code),
            expected_refundable=Money(amount_minor=left_minor, currency_code=currency_code),
            actor_id=asker.subject,
        )
        answer = await self._refunded(asker, request)
        return views.status(answer.payment, answer.payment.booking_ids[0] if answer.payment.booking_ids else "") | {
            "refundId": answer.refund_id,
            "refundAmountMinor": answer.amount.amount_minor,
        }

    async def _refunded(self, asker: Asker, request: pb.RefundPaymentRequest) -> pb.RefundPaymentResponse:
        """Give back on what is refundable now, or return the first answer where this is a repeat.

        Old clients do not say what they saw as refundable, and a repeat sees less than the first call did: it is known
        again by what was refundable before the refunds that were made since.
        """
        now_minor = request.expected_refundable.amount_minor
        refused: Exception = Refusal(409, "REFUND_EXCEEDS_REFUNDABLE")
        async for since_minor in self._made_since(asker, request.payment_id):
            request.expected_refundable.amount_minor = now_minor + since_minor
            if request.expected_refundable.amount_minor == 0:
                continue  # nothing is left: this is a repeat, or too much
            try:
                return await self._front.peers.calls.orchestrator.RefundPayment(request, metadata=asker.metadata)
            except by_reason["REQUEST_ID_REUSED"] as error:
                refused = error
        raise refused

    async def _made_since(self, asker: Asker, payment_id: str) -> AsyncIterator[int]:
        """Yield 0, and then what the last refund, the last two, … came to; they are asked for where 0 was not it."""
        yield 0
        request = ListRefundsRequest(payment_id=payment_id)
        refunds = (await self._front.peers.calls.refunds.ListRefunds(request, metadata=asker.metadata)).refunds
        for since_minor in accumulate([one.amount.amount_minor for one in reversed(refunds)][:LOOKED_BACK_MAX]):
            yield since_minor

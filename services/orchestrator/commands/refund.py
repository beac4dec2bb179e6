"""RefundPayment: gives money back, and says of whose."""

from __future__ import annotations

from typing import Final

from batzen.orchestrator.v1.orchestrator_pb2 import RefundPaymentRequest, RefundPaymentResponse
from services.errors import FieldInvalid
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.errors import (
    PaymentState,
    RefundableChanged,
    RefundExceedsRefundable,
    RefundRefused,
)
from services.orchestrator.domain.plan import Plan, Request, RequestKey
from services.orchestrator.peers import Peers
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.refunds import check_amount, check_lines, of_lines
from services.runtime import crash_points
from services.shared import fields
from services.shared.refusals import Refusal
from services.wire import money

_REFUSALS: Final = {error.reason: error for error in (RefundableChanged, RefundExceedsRefundable)}


class RefundPayment(Command[RefundPaymentRequest, RefundPaymentResponse]):
    """Gives money back."""

    request_type = RefundPaymentRequest
    response_type = RefundPaymentResponse

    def __init__(self, outbox: TransitionOutbox, peers: Peers) -> None:
        self._outbox = outbox
        self._peers = peers

    def validate(self, message: RefundPaymentRequest) -> None:
        """Refuse what says not clearly how much goes back, and who decided."""
        fields.payment_id(message.payment_id)
        is_set = message.HasField("expected_refundable")
        fields.money(message.expected_refundable, field="expected_refundable", least_minor=0, is_set=is_set)
        if message.HasField("amount"):
            fields.money(message.amount, field="amount", least_minor=1)
        elif message.expected_refundable.amount_minor == 0:
            raise FieldInvalid(field="expected_refundable", detail="There is nothing to give back.")
        if message.reason not in RefundPaymentRequest.Reason.values():
            raise FieldInvalid(field="reason")
        fields.identifier(message.actor_id, field="actor_id")
        check_lines(message)
        check_amount(message)

    def payment_id(self, message: RefundPaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    async def perform(self, work: UnitOfWork, request: Request, message: RefundPaymentRequest) -> RefundPaymentResponse:
        """Have the gateway make the refund: the same request is the same refund, however often it is asked for."""
        plan = work.plan
        if plan.latest_snapshot.amounts.captured_minor == 0:
            raise PaymentState(state=plan.latest_snapshot.collection)
        _check_currency(message, plan)
        asked = of_lines(message, plan.split)
        amount_minor = message.amount.amount_minor or asked.amount_minor or message.expected_refundable.amount_minor
        refunding = self._peers.gateway.create_refund(
            plan,
            request_id=request.derived_id,
            amount_minor=amount_minor,
            expected_refundable_minor=message.expected_refundable.amount_minor,
            reason=RefundPaymentRequest.Reason.Name(message.reason),
            reverse_transfer=not message.keep_seller_part,
            refund_application_fee=not (message.keep_platform_fee or message.keep_seller_part),
            actor_id=message.actor_id,
            line_ids=asked.line_ids if message.seller_id else (),
            line_amounts=asked.amounts,
        )
        try:
            answer = await crash_points.call("refund.gateway", refunding)
        except Refusal as refusal:
            # What the gateway read before it refused is true here too, before anybody looks at the balance again.
            intent = self._peers.gateway.intent(plan.payment_id)
            work.apply((await crash_points.call("refund.seen", intent)).observation)
            await work.save("refund.refused")
            await self._outbox.try_flush_outbox(work)
            known = _REFUSALS.get(refusal.reason)
            if known is not None:
                raise known(**refusal.metadata) from refusal
            raise RefundRefused(code=refusal.metadata.get("code", refusal.reason)) from refusal
        work.apply(answer.observation)
        await work.save("refund.outcome")
        await self._outbox.try_flush_outbox(work)
        return RefundPaymentResponse(
            refund_id=answer.refund_id,
            amount=money(answer.amount_minor, plan.currency_code or ""),
            payment=await self._outbox.payment(work),
        )


def _check_currency(message: RefundPaymentRequest, plan: Plan) -> None:
    named = {"expected_refundable": message.expected_refundable}
    if message.HasField("amount"):
        named = {"amount": message.amount, **named}
    for name, value in named.items():
        if value.currency_code != plan.currency_code:
            raise FieldInvalid(field=f"{name}.currency_code", detail=f"The payment is in {plan.currency_code}.")

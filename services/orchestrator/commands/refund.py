"""RefundPayment: gives money back, and says of whose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar, Final, NoReturn

from batzen.orchestrator.v1.orchestrator_pb2 import RefundPaymentRequest, RefundPaymentResponse
from services.errors import FieldInvalid
from services.orchestrator import refund_policies
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.errors import (
    NothingRefundable,
    PaymentState,
    RefundableChanged,
    RefundExceedsRefundable,
    RefundRefused,
)
from services.orchestrator.domain.plan import Plan, Request, RequestKey
from services.orchestrator.peers import Peers
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.refunds import OfLines, check_amount, check_lines, of_lines
from services.orchestrator.wire.requests import WHY_CHARACTERS_MAX
from services.runtime import crash_points
from services.runtime.rpc import call_context
from services.runtime.rpc.identity import OPERATOR
from services.shared import fields
from services.shared.refusals import Refusal
from services.wire import money

_REFUSALS: Final = {
    **{error.reason: error for error in (RefundableChanged, RefundExceedsRefundable)},
    "LINE_EXCEEDS_REFUNDABLE": RefundExceedsRefundable,
}
_FIELDS: Final = {"line_ids": "seller_id"}
"""What a field of the gateway's request is called in ours, where that is another name."""


class RefundPayment(Command[RefundPaymentRequest, RefundPaymentResponse]):
    """Gives money back."""

    request_type = RefundPaymentRequest
    response_type = RefundPaymentResponse
    kept_fields: ClassVar[tuple[str, ...]] = (
        "amount",
        "expected_refundable",
        "reason",
        "seller_id",
        "line_amounts",
        "keep_seller_part",
        "keep_platform_fee",
    )

    def __init__(self, outbox: TransitionOutbox, peers: Peers, *, now: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._peers = peers
        self._now = now

    def validate(self, message: RefundPaymentRequest) -> None:
        """Refuse what says not clearly how much goes back, and who decided."""
        fields.payment_id(message.payment_id)
        is_set = message.HasField("expected_refundable")
        fields.money(message.expected_refundable, field="expected_refundable", least_minor=0, is_set=is_set)
        if message.HasField("amount"):
            fields.money(message.amount, field="amount", least_minor=1)
        if message.reason not in RefundPaymentRequest.Reason.values():
            offered = RefundPaymentRequest.Reason
            raise FieldInvalid(field="reason", detail=fields.one_of(offered.items(), offered.values()))
        fields.identifier(message.actor_id, field="actor_id")
        fields.text(message.beyond_policy_reason, field="beyond_policy_reason", characters_max=WHY_CHARACTERS_MAX)
        if message.beyond_policy_reason and OPERATOR not in call_context.current_caller().roles:
            raise FieldInvalid(field="beyond_policy_reason", detail="must be empty: it is an operator's alone")
        check_lines(message)
        check_amount(message)

    def payment_id(self, message: RefundPaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    def actor_id(self, message: RefundPaymentRequest) -> str:
        """Return who decided."""
        return message.actor_id

    def why(self, message: RefundPaymentRequest) -> str:
        """Return what an operator says of it."""
        return message.beyond_policy_reason

    async def perform(self, work: UnitOfWork, request: Request, message: RefundPaymentRequest) -> RefundPaymentResponse:
        """Have the gateway make the refund: the same request is the same refund, however often it is asked for."""
        plan = work.plan
        if plan.latest_snapshot.amounts.captured_minor == 0:
            raise PaymentState(state=plan.latest_snapshot.state)
        _check_currency(message, plan)
        asked = of_lines(message, plan.split)
        amount_minor = message.amount.amount_minor or asked.amount_minor or message.expected_refundable.amount_minor
        if not amount_minor:
            _refuse_nothing(plan)
        await self._hold_to_policy(work, request, message, asked, amount_minor)
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
                raise known(field=_FIELDS.get(refusal.field or "", refusal.field), **refusal.metadata) from refusal
            raise RefundRefused(code=refusal.metadata.get("code", refusal.reason)) from refusal
        work.apply(answer.observation)
        await work.save("refund.outcome")
        await self._outbox.try_flush_outbox(work)
        return RefundPaymentResponse(
            refund_id=answer.refund_id,
            amount=money(answer.amount_minor, plan.currency_code or ""),
            payment=await self._outbox.payment(work),
        )

    async def _hold_to_policy(
        self, work: UnitOfWork, request: Request, message: RefundPaymentRequest, asked: OfLines, amount_minor: int
    ) -> None:
        """Refuse what goes beyond the policy. What passed is kept before it is asked for, and only carried on then.

        So a refund that was in time is not refused by the clock of whoever carries it on.
        """
        plan = work.plan
        is_limited = plan.terms.policy.refund.full_until_h is not None
        if not is_limited or message.beyond_policy_reason or request.calling:
            return
        lines = await crash_points.call("refund.lines", self._peers.gateway.line_standings(plan.payment_id))
        refund_policies.refuse_beyond(plan, asked, amount_minor, lines, self._now())
        await work.save("refund.begin", request=request)


def _refuse_nothing(plan: Plan) -> NoReturn:
    """Refuse to give back all that is left where the caller saw nothing: there is nothing, or that changed."""
    left_minor = plan.latest_snapshot.amounts.refundable_minor
    if left_minor:
        raise RefundableChanged(field="expected_refundable", refundable_minor=left_minor)
    raise NothingRefundable(field="expected_refundable", refundable_minor=0)


def _check_currency(message: RefundPaymentRequest, plan: Plan) -> None:
    named = {"expected_refundable": message.expected_refundable}
    if message.HasField("amount"):
        named = {"amount": message.amount, **named}
    for name, value in named.items():
        if value.currency_code != plan.currency_code:
            raise FieldInvalid(field=f"{name}.currency_code", detail=f"must be {plan.currency_code}, as the payment is")

"""Giving money back: reserved under the payment's lease before Stripe is asked, so never more than was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.errors import RequestIdReused
from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.errors import (
    ChargeDisputed,
    IntentNotFound,
    LineExceedsRefundable,
    RefundableChanged,
    RefundExceedsRefundable,
    StripeRefused,
)
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import Bearer, Refund, RefundState
from services.gateway.settlement.positions import beyond, lines_of, split_of
from services.gateway.stripe_api.calls.intents import is_missing
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.currencies import to_stripe
from services.gateway.stripe_api.intent_objects import intent_facts
from services.gateway.stripe_api.objects import disputes_in, metadata, refund_facts
from services.gateway.stripe_api.refund_metadata import refund_metadata
from services.shared.codec import Json
from services.shared.split import LineAmount

CHARGE_DISPUTED: Final = "charge_disputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRefundParams(Params):
    """What is given back, as its caller saw the balance; `body` is what Stripe is asked for."""

    refund_id: str
    amount_minor: int
    expected_refundable_minor: int
    reverse_transfer: bool
    refund_application_fee: bool
    reason: str
    actor_id: str
    attempt: int = 0
    """Whose money goes back; 0 for the one that counts."""
    line_amounts: tuple[LineAmount, ...] = ()
    """What of it falls to each line; empty for in proportion to what is left of each."""
    line_ids: tuple[str, ...] = ()
    """The lines that it falls to; empty for all."""
    intent_id: str = ""
    body: Json | None = None


class CreateRefund(Operation[CreateRefundParams, MirroredPayment]):
    """Gives an amount of an attempt back: of the one that counts, unless another is named."""

    name = "refund.create"
    params_type = CreateRefundParams
    retry_until_known = True
    moves_each_time = True

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment]) -> None:
        super().__init__(payments)
        self._provider = provider

    async def prepare(self, payment: MirroredPayment, call: Call[CreateRefundParams]) -> CreateRefundParams:
        """Reserve the amount. The lease makes this the only refund that looks at the balance now."""
        asked = call.params
        if asked.refund_id in payment.refunds:  # made of the request, whose call is so old that it was forgotten
            raise RequestIdReused(field="request_id")
        intent = _refundable(payment, asked)
        refund = Refund(
            refund_id=asked.refund_id,
            attempt=intent.attempt,
            amount_minor=asked.amount_minor,
            create_time=call.create_time,
            actor_id=asked.actor_id,
            reason=asked.reason,
            bearer=_bearer(asked),
            parts=_parts(payment, intent, asked),
        )
        body: dict[str, object] = {
            "payment_intent": intent.intent_id,
            "amount": to_stripe(asked.amount_minor, payment.currency_code),
            # What sellers and platform give back is decided here, by calls of their own. Stripe's proportions do not.
            "reverse_transfer": False,
            "refund_application_fee": False,
            "metadata": refund_metadata(refund, payment_id=payment.payment_id),
        }
        if asked.reason:
            body["reason"] = asked.reason
        payment.refunds[asked.refund_id] = refund
        payment.conclude()
        return replace(asked, intent_id=intent.intent_id, body=body)

    async def send(self, payment: MirroredPayment, call: Call[CreateRefundParams], *, is_repeat: bool) -> Json:
        """Ask for it."""
        return await self._provider.refunds.create(call.params.body or {}, key=call.key, is_repeat=is_repeat)

    async def look_again(
        self, payment: MirroredPayment, call: Call[CreateRefundParams], refusal: StripeRefused
    ) -> Json:
        """Read all of the attempt; the balance may be another one, and the refund may even be there.

        An intent that was imported, and that Stripe never knew, has nothing to be given back.
        """
        asked, attempt = call.params, payment.refunds[call.params.refund_id].attempt
        if payment.intents[attempt].is_unseen and is_missing(refusal):
            _fail(payment, asked.refund_id)
            raise refusal
        intent = await self._provider.intents.reread(asked.intent_id, refusal)
        refunds = await self._provider.refunds.of_intent(asked.intent_id)
        payment.apply_intent(attempt, intent_facts(intent))
        for refund in reversed(refunds):
            payment.apply_refund(attempt, refund_facts(refund))
        known = payment.intents[attempt]
        if known.disputed:
            shown = await self._provider.disputes.of_charge(known.charge_id)
            payment.apply_disputes(
                attempt,
                disputes_in(shown, currency_code=payment.currency_code, captured_minor=known.captured_minor),
            )
        ours = _ours(refunds, asked.refund_id)
        if ours is not None:
            return ours
        _fail(payment, asked.refund_id)
        if refusal.metadata["code"] == CHARGE_DISPUTED:
            raise ChargeDisputed from refusal
        _refundable(payment, asked)
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[CreateRefundParams]) -> Json | None:
        """Find the refund that carries our id. An account that does not know the intent has no say in what it lacks."""
        await self._provider.intents.retrieve(call.params.intent_id)
        return _ours(await self._provider.refunds.of_intent(call.params.intent_id), call.params.refund_id)

    def record(self, payment: MirroredPayment, call: Call[CreateRefundParams], answer: Json) -> Mapping[str, str]:
        """Mirror it."""
        payment.apply_refund(payment.refunds[call.params.refund_id].attempt, refund_facts(answer))
        return {"refund_id": call.params.refund_id}

    def discarded(self, payment: MirroredPayment, call: Call[CreateRefundParams]) -> None:
        """Take the reservation back, as if it had never been."""
        del payment.refunds[call.params.refund_id]
        payment.conclude()

    # `unknown` changes nothing: the reservation stays, since the amount may be on its way.


def _fail(payment: MirroredPayment, refund_id: str) -> None:
    kept = payment.refunds[refund_id]
    payment.refunds[refund_id] = replace(kept, state=RefundState.FAILED, failure_reason="refused")
    payment.conclude()


def _parts(payment: MirroredPayment, intent: Intent, asked: CreateRefundParams) -> tuple[LineAmount, ...]:
    """Return what of a refund falls to each line; raise what forbids it, where lines that are named have less."""
    if asked.line_amounts:
        return asked.line_amounts
    parts = payment.allocated(intent.attempt, asked.amount_minor, asked.line_ids)
    of_lines_minor = sum(part.amount_minor for part in parts)
    if asked.line_ids and of_lines_minor < asked.amount_minor:
        raise RefundExceedsRefundable(refundable_minor=of_lines_minor, field="line_ids")
    return parts


def _bearer(asked: CreateRefundParams) -> Bearer:
    if not asked.reverse_transfer:
        return Bearer.PLATFORM
    return Bearer.SHARED if asked.refund_application_fee else Bearer.SELLER


def _refundable(payment: MirroredPayment, asked: CreateRefundParams) -> Intent:
    """Return the attempt that is refunded; raise what forbids it."""
    intent = payment.intents.get(asked.attempt or payment.observation.attempt)
    if intent is None or not intent.intent_id:
        raise IntentNotFound
    refundable_minor = payment.refundable_minor(intent.attempt)
    if asked.expected_refundable_minor != refundable_minor:
        raise RefundableChanged(refundable_minor=refundable_minor, field="expected_refundable")
    if not intent.may_be_refunded:
        raise ChargeDisputed
    if asked.amount_minor > refundable_minor:
        raise RefundExceedsRefundable(refundable_minor=refundable_minor, field="amount")
    _check_lines(payment, intent, asked.line_amounts)
    return intent


def _check_lines(payment: MirroredPayment, intent: Intent, asked: Sequence[LineAmount]) -> None:
    """Raise what forbids that so much of each line goes back."""
    left = {one.line.line_id: one.refundable_minor for one in lines_of(intent, payment.refunds.values())}
    for number, one in beyond(asked, left, step_minor=split_of(intent).step_minor):
        raise LineExceedsRefundable(
            field=f"line_amounts[{number}]", line_id=one.line_id, refundable_minor=max(0, left[one.line_id])
        )


def _ours(refunds: Sequence[Json], refund_id: str) -> Json | None:
    """Return the refund that carries our id."""
    return next((one for one in refunds if metadata(one, "refund_id") == refund_id), None)

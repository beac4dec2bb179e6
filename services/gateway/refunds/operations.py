"""Giving money back: reserved under the payment's lease before Stripe is asked, so never more than was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from services.errors import RequestIdReused
from services.gateway import domain
from services.gateway.disputes.apply import apply_disputes
from services.gateway.domain import (
    ChargeDisputed,
    Intent,
    IntentNotFound,
    Refund,
    RefundableChanged,
    RefundExceedsRefundable,
    StripeRefused,
)
from services.gateway.intents.operations import apply_intent, observe, read_refused
from services.gateway.mirror.store import Call, MirroredPayment
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.currencies import from_stripe, to_stripe

Json = Mapping[str, Any]

CHARGE_DISPUTED: Final = "charge_disputed"
STATES: Final = {
    "pending": domain.REFUND_PENDING,
    "requires_action": domain.REFUND_PENDING,
    "succeeded": domain.REFUND_SUCCEEDED,
    "failed": domain.REFUND_FAILED,
    "canceled": domain.REFUND_CANCELED,
}


class CreateRefund:
    """Gives an amount of the attempt that counts back."""

    name = "refund.create"
    retry_until_known = True

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def prepare(self, held: MirroredPayment, call: Call) -> dict[str, Any]:
        """Reserve the amount. The lease makes this the only refund that looks at the balance now."""
        asked = call.params
        if asked["refund_id"] in held.refunds:  # made of the request, whose call is so old that it was forgotten
            raise RequestIdReused(field="request_id")
        intent = _refundable(held, asked)
        body = {
            "payment_intent": intent.intent_id,
            "amount": to_stripe(asked["amount_minor"], held.currency_code),
            # Always said: by default Stripe would let the platform pay for what the seller keeps.
            "reverse_transfer": asked["reverse_transfer"],
            "refund_application_fee": asked["refund_application_fee"] and intent.application_fee_minor > 0,
            "metadata": {"payment_id": held.payment_id, "refund_id": asked["refund_id"]},
        }
        if asked["reason"]:
            body["reason"] = asked["reason"]
        held.refunds[asked["refund_id"]] = Refund(
            refund_id=asked["refund_id"],
            attempt=intent.attempt,
            amount_minor=asked["amount_minor"],
            create_time=call.create_time,
            actor_id=asked["actor_id"],
        )
        observe(held)
        return {**asked, "intent_id": intent.intent_id, "body": body}

    async def send(self, held: MirroredPayment, call: Call, *, is_repeat: bool) -> Json:
        """Ask for it."""
        return await self._provider.create_refund(call.params["body"], key=call.key, is_repeat=is_repeat)

    async def look_again(self, held: MirroredPayment, call: Call, refusal: StripeRefused) -> Json:
        """Read all of the attempt; the balance may be another one, and the refund may even be there."""
        asked, attempt = call.params, held.refunds[call.params["refund_id"]].attempt
        intent = await read_refused(self._provider, held, call, refusal)
        refunds = await self._provider.list_refunds(asked["intent_id"])
        apply_intent(held, attempt, intent)
        for refund in reversed(refunds):
            apply_refund(held, attempt, refund)
        if held.intents[attempt].disputed:
            apply_disputes(held, attempt, await self._provider.list_disputes(held.intents[attempt].charge_id))
        ours = _ours(refunds, asked["refund_id"])
        if ours is not None:
            return ours
        kept = held.refunds[asked["refund_id"]]
        held.refunds[kept.refund_id] = replace(kept, state=domain.REFUND_FAILED, failure_reason="refused")
        observe(held)
        if refusal.metadata["code"] == CHARGE_DISPUTED:
            raise ChargeDisputed from refusal
        _refundable(held, asked)
        raise refusal

    async def look_up(self, held: MirroredPayment, call: Call) -> Json | None:
        """Find the refund that carries our id. An account that does not know the intent has no say in what it lacks."""
        await self._provider.retrieve_intent(call.params["intent_id"])
        return _ours(await self._provider.list_refunds(call.params["intent_id"]), call.params["refund_id"])

    def record(self, held: MirroredPayment, call: Call, answer: Json) -> dict[str, Any]:
        """Mirror it."""
        apply_refund(held, held.refunds[call.params["refund_id"]].attempt, answer)
        return {"refund_id": call.params["refund_id"]}

    def discarded(self, held: MirroredPayment, call: Call) -> None:
        """Take the reservation back, as if it had never been."""
        del held.refunds[call.params["refund_id"]]
        observe(held)

    def unknown(self, held: MirroredPayment) -> None:
        """Keep the reservation: the amount may be on its way."""


def _refundable(held: MirroredPayment, asked: Json) -> Intent:
    """Return the attempt that is refunded; raise what forbids it."""
    intent = held.intents.get(held.observation.attempt)
    if intent is None or not intent.intent_id:
        raise IntentNotFound
    refundable_minor = held.observation.refundable_minor
    if asked["expected_refundable_minor"] != refundable_minor:
        raise RefundableChanged(refundable_minor=refundable_minor, field="expected_refundable")
    if not intent.may_be_refunded:
        raise ChargeDisputed
    if asked["amount_minor"] > refundable_minor:
        raise RefundExceedsRefundable(refundable_minor=refundable_minor, field="amount")
    return intent


def _ours(refunds: Sequence[Json], refund_id: str) -> Json | None:
    """Return the refund that carries our id."""
    return next((one for one in refunds if (one.get("metadata") or {}).get("refund_id") == refund_id), None)


def apply_refund(held: MirroredPayment, attempt: int, refund: Json) -> None:
    """Put a refund as Stripe showed it into the mirror; one that was made at Stripe's dashboard too."""
    stripe_refund_id = str(refund["id"])
    ours = (refund.get("metadata") or {}).get("refund_id")
    known = next((one for one in held.refunds.values() if one.stripe_refund_id == stripe_refund_id), None)
    if known is None and ours in held.refunds and not held.refunds[ours].stripe_refund_id:
        known = held.refunds[ours]
    if known is None:
        known = Refund(
            refund_id=f"refund_{stripe_refund_id.removeprefix('re_')}",
            attempt=attempt,
            amount_minor=from_stripe(int(refund["amount"]), str(refund["currency"])),
            create_time=datetime.fromtimestamp(int(refund["created"]), UTC),
        )
    held.refunds[known.refund_id] = replace(
        known,
        stripe_refund_id=stripe_refund_id,
        state=STATES.get(str(refund.get("status")), domain.REFUND_PENDING),
        failure_reason=str(refund.get("failure_reason") or ""),
    )
    observe(held)

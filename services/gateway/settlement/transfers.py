"""Transfers to sellers: each a recorded call, for a fact that follows from what is true of the payment.

What happens if the process dies:
- before the call is written down: whoever settles the payment comes to the same transfer again;
- after that: the movement is PENDING and counts as made, so no other is computed. The engine sends the same under the
  same key; once Stripe has forgotten that, the transfer is looked for among those of the payment's group;
- after it was recorded: the seller has it, and the next step is another.

A transfer that is not due any more when the payment's lease is ours is not sent, and the call is discarded. One that
Stripe refuses moved nothing: that is kept with the movement, and the next try is another call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from services.errors import RequestIdReused
from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.errors import IntentNotFound, NotNow, StripeRefused
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.settlement.domain import Movement, MovementOrigin
from services.gateway.settlement.moves import ByHand, by_hand
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.currencies import to_stripe
from services.gateway.stripe_api.metadata import ACTOR_ID, ATTEMPT, CALL_ID, MOVEMENT_ID, PAYMENT_ID
from services.gateway.stripe_api.objects import metadata, text
from services.shared.codec import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferParams(Params):
    """Which transfer is to be made; `body` is what Stripe is sent."""

    fact: str = ""
    by_hand: ByHand | None = None
    """In place of a fact: what somebody asks for."""
    account_id: str
    """Of the seller, at Stripe."""
    movement_id: str = ""
    body: Json | None = None


class CreateTransfer(Operation[TransferParams, MirroredPayment]):
    """Pays a seller what is due to it now."""

    name = "transfer.create"
    params_type = TransferParams
    moves_each_time = True
    is_waited_for = False

    def __init__(
        self, provider: Provider, payments: SubjectStore[MirroredPayment], *, now: Callable[[], datetime]
    ) -> None:
        super().__init__(payments)
        self._provider = provider
        self._now = now

    async def prepare(self, payment: MirroredPayment, call: Call[TransferParams]) -> TransferParams:
        """Reserve what is due. The lease makes this the only call that looks at that now."""
        if call.params.by_hand is not None and payment.was_moved_by(call.call_id):  # and the call was forgotten
            raise RequestIdReused(field="request_id")
        due = _due(payment, call.params)
        if due is None:
            raise NotNow
        reserved = payment.reserve(replace(due, call_id=str(call.call_id)), asked=call.create_time)
        body: dict[str, object] = {
            "amount": to_stripe(reserved.amount_minor, reserved.currency_code),
            "currency": reserved.currency_code.lower(),
            "destination": call.params.account_id,
            "transfer_group": payment.payment_id,
            "metadata": {
                PAYMENT_ID: payment.payment_id,
                ATTEMPT: str(reserved.attempt),
                MOVEMENT_ID: reserved.movement_id,
                CALL_ID: str(call.call_id),
                **({ACTOR_ID: reserved.actor_id} if reserved.actor_id else {}),
            },
        }
        if reserved.origin is MovementOrigin.SOURCE:
            body["source_transaction"] = payment.intents[reserved.attempt].charge_id
        return replace(call.params, movement_id=reserved.movement_id, body=body)

    async def send(self, payment: MirroredPayment, call: Call[TransferParams], *, is_repeat: bool) -> Json:
        """Make it."""
        return await self._provider.transfers.create(call.params.body or {}, key=call.key, is_repeat=is_repeat)

    async def look_up(self, payment: MirroredPayment, call: Call[TransferParams]) -> Json | None:
        """Find the transfer that carries the movement's id: there is one, whichever call of it was carried out."""
        shown = await self._provider.transfers.of_group(payment.payment_id)
        return next((one for one in shown if metadata(one, MOVEMENT_ID) == call.params.movement_id), None)

    async def look_again(self, payment: MirroredPayment, call: Call[TransferParams], refusal: StripeRefused) -> Json:
        """Keep why it was refused: there is nothing to read, and the next try is another call."""
        payment.refused(call.params.movement_id, code=refusal.metadata["code"], now=self._now())
        raise refusal

    def record(self, payment: MirroredPayment, call: Call[TransferParams], answer: Json) -> Mapping[str, str]:
        """Keep that it moved."""
        payment.made(call.params.movement_id, text(answer, "id"))
        return {"movement_id": call.params.movement_id}

    def discarded(self, payment: MirroredPayment, call: Call[TransferParams]) -> None:
        """Take the reservation back."""
        payment.unreserve(call.params.movement_id)


def _due(payment: MirroredPayment, asked: TransferParams) -> Movement | None:
    """Return what is to be transferred; None if nothing is any more. Raises what forbids what somebody asks for."""
    if asked.by_hand is None:
        return next((one for one in payment.steps(None) if isinstance(one, Movement) and one.fact == asked.fact), None)
    counting = payment.intents.get(payment.observation.attempt)
    if counting is None or not counting.captured_minor:
        raise IntentNotFound
    movements = tuple(payment.movements.values())
    return by_hand(payment.payment_id, counting, payment.refunds.values(), movements, asked.by_hand)

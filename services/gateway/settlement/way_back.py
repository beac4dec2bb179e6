"""The ways back: a transfer that is reversed, an application fee that is given back. Each a recorded call.

What is asked for is how much is to have gone back in all; what moves is what is missing of that, which is computed
under the payment's lease. So neither a second caller nor what somebody did at Stripe's dashboard takes anything twice.

What happens if the process dies:
- before the call is written down: whoever settles the payment computes the same again;
- after that: the movement is PENDING, and counts as made until Stripe says otherwise. The engine sends the same under
  the same key, and looks among the transfer's reversals, or the fee's refunds, for one that carries its id;
- after it was recorded: it is there, and nothing is missing any more.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.errors import RequestIdReused
from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.errors import NotNow, ReversalExceedsTransfer, StripeRefused
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.settlement import facts
from services.gateway.settlement.domain import (
    BACK,
    Movement,
    MovementKind,
    MovementOrigin,
    MovementState,
    Wait,
    went_back,
)
from services.gateway.settlement.moves import back_until_minor
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.currencies import to_stripe
from services.gateway.stripe_api.metadata import ACTOR_ID, CALL_ID, MOVEMENT_ID, PAYMENT_ID
from services.gateway.stripe_api.objects import metadata, text
from services.shared.codec import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBackParams(Params):
    """What is to go back on a transfer or a fee; `body` is what Stripe is sent."""

    of_movement_id: str
    until_minor: int
    """How much of it is to have gone back in all, in the payment's currency."""
    actor_id: str = ""
    """Who asked for it; empty where that follows from what happened to the payment."""
    movement_id: str = ""
    stripe_id: str = ""
    """Of what it goes back on."""
    body: Json | None = None


class WayBack(Operation[WayBackParams, MirroredPayment]):
    """One call by which something goes back on a movement."""

    params_type = WayBackParams
    moves_each_time = True
    is_waited_for = False
    of_kind: MovementKind
    """What it goes back on."""

    def __init__(
        self, provider: Provider, payments: SubjectStore[MirroredPayment], *, now: Callable[[], datetime]
    ) -> None:
        super().__init__(payments)
        self._provider = provider
        self._now = now

    async def prepare(self, payment: MirroredPayment, call: Call[WayBackParams]) -> WayBackParams:
        """Reserve what is missing. The lease makes this the only one that looks at what is left now."""
        asked = call.params
        on = payment.movements.get(asked.of_movement_id)
        if on is None or on.kind is not self.of_kind or on.state is not MovementState.MADE:
            raise ReversalExceedsTransfer(left_minor=0)
        if on.is_assumed:  # what it came to there is to be read first
            raise NotNow
        if asked.actor_id and payment.was_moved_by(call.call_id):  # and the call was forgotten
            raise RequestIdReused(field="request_id")
        missing = _missing(payment, on, call)
        if not asked.actor_id and all(isinstance(one, Wait) or one.fact != missing.fact for one in payment.steps(None)):
            raise NotNow
        reserved = payment.reserve(missing, asked=call.create_time)
        return replace(
            asked,
            movement_id=reserved.movement_id,
            stripe_id=on.stripe_id,
            body={
                "amount": to_stripe(reserved.amount_minor, reserved.currency_code),
                "metadata": {
                    PAYMENT_ID: payment.payment_id,
                    MOVEMENT_ID: reserved.movement_id,
                    CALL_ID: str(call.call_id),
                    **({ACTOR_ID: reserved.actor_id} if reserved.actor_id else {}),
                },
            },
        )

    async def look_up(self, payment: MirroredPayment, call: Call[WayBackParams]) -> Json | None:
        """Find the one that carries the movement's id: there is one, whichever call of it was carried out."""
        return _ours(await self.shown(call.params.stripe_id), call.params.movement_id)

    async def look_again(self, payment: MirroredPayment, call: Call[WayBackParams], refusal: StripeRefused) -> Json:
        """Return what is there all the same; else keep why it was refused, so that the next try is another call."""
        found = await self.look_up(payment, call)
        if found is not None:
            return found
        payment.refused(call.params.movement_id, code=refusal.metadata["code"], now=self._now())
        raise refusal

    def record(self, payment: MirroredPayment, call: Call[WayBackParams], answer: Json) -> Mapping[str, str]:
        """Keep that it moved."""
        payment.made(call.params.movement_id, text(answer, "id"))
        return {"movement_id": call.params.movement_id}

    def discarded(self, payment: MirroredPayment, call: Call[WayBackParams]) -> None:
        """Take the reservation back: it is refused as before, or was never asked for."""
        payment.unreserve(call.params.movement_id)

    @abstractmethod
    async def shown(self, stripe_id: str) -> Sequence[Json]:
        """Read all that went back on something of Stripe's."""


class ReverseTransfer(WayBack):
    """Takes a transfer, or a part of it, back from its seller."""

    name = "transfer.reverse"
    of_kind = MovementKind.TRANSFER

    async def send(self, payment: MirroredPayment, call: Call[WayBackParams], *, is_repeat: bool) -> Json:
        """Reverse it."""
        transfer_id, body = call.params.stripe_id, call.params.body or {}
        return await self._provider.transfers.reverse(transfer_id, body, key=call.key, is_repeat=is_repeat)

    async def shown(self, stripe_id: str) -> Sequence[Json]:
        """Read its reversals."""
        return await self._provider.transfers.reversals_of(stripe_id)


class RefundFee(WayBack):
    """Gives an application fee, or a part of it, back to the seller."""

    name = "fee.refund"
    of_kind = MovementKind.FEE

    async def send(self, payment: MirroredPayment, call: Call[WayBackParams], *, is_repeat: bool) -> Json:
        """Give it back."""
        fee_id, body = call.params.stripe_id, call.params.body or {}
        return await self._provider.fees.refund(fee_id, body, key=call.key, is_repeat=is_repeat)

    async def shown(self, stripe_id: str) -> Sequence[Json]:
        """Read its refunds."""
        return await self._provider.fees.refunds_of(stripe_id)


def _missing(payment: MirroredPayment, on: Movement, call: Call[WayBackParams]) -> Movement:
    """Return the movement that is missing. Raises ReversalExceedsTransfer where nothing is, or more than is left."""
    until_minor = call.params.until_minor
    before = went_back(on, payment.movements.values())
    amount_minor = back_until_minor(on, until_minor) - before.amount_minor
    if until_minor > on.charge_minor or until_minor <= before.charge_minor or amount_minor <= 0:
        raise ReversalExceedsTransfer(left_minor=on.charge_minor - before.charge_minor)
    kind = BACK[on.kind]
    fact = facts.way_back(kind, on.movement_id, until_minor)
    return Movement(
        movement_id=facts.movement_id(kind, payment.payment_id, fact),
        kind=kind,
        origin=MovementOrigin.WAY_BACK,
        attempt=on.attempt,
        seller_id=on.seller_id,
        amount_minor=amount_minor,
        currency_code=on.currency_code,
        charge_minor=until_minor - before.charge_minor,
        of_movement_id=on.movement_id,
        fact=fact,
        actor_id=call.params.actor_id,
        call_id=str(call.call_id),
        create_time=call.create_time,
    )


def _ours(shown: Sequence[Json], movement_id: str) -> Json | None:
    return next((one for one in shown if metadata(one, MOVEMENT_ID) == movement_id), None)

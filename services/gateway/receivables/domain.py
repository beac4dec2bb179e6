"""What a seller owes of a payment: it is to give back more than Stripe lets us take. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.gateway.settlement.domain import Movement, MovementKind, MovementOrigin, MovementState, Wait, WaitReason
from services.gateway.settlement.moves import Step
from services.gateway.settlement.positions import Position
from services.shared.amounts import written
from services.shared.payment import Attention
from services.shared.states import AttentionReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivable:
    """What a seller owes of one attempt, in minor units of the payment's currency."""

    attempt: int
    seller_id: str
    amount_minor: int
    since: datetime
    """When it was first asked back in vain."""

    def attention(self, currency_code: str) -> Attention:
        """Return what an operator has to know of it."""
        amount = written(self.amount_minor, currency_code)
        detail = f"{self.seller_id} owes {amount}: its balance at Stripe does not cover it."
        return Attention(reason=AttentionReason.SELLER_OWES, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What somebody saw that a seller owes, and decides on."""

    payment_id: str
    attempt: int
    seller_id: str
    amount_minor: int
    currency_code: str


def receivables(
    steps: Iterable[Step], positions: Iterable[Position], movements: Sequence[Movement], *, paid_time: datetime
) -> tuple[Receivable, ...]:
    """Return what sellers owe of an attempt: the next steps say what is asked back, and was refused before.

    Steps and positions are those without what is asked for and not answered: it is owed until it has come.
    """
    owed = {one.seller_id: -one.due_minor for one in positions if one.due_minor < 0}
    found = []
    for step in steps:
        since = _since(step, movements, paid_time)
        if since is not None and step.seller_id in owed:
            found.append(
                Receivable(
                    attempt=step.attempt, seller_id=step.seller_id, amount_minor=owed[step.seller_id], since=since
                )
            )
    return tuple(found)


def write_off(owed: Seen, *, movement_id: str, actor_id: str, note: str, create_time: datetime) -> Movement:
    """Return what makes a seller owe nothing any more."""
    return Movement(
        movement_id=movement_id,
        kind=MovementKind.WRITE_OFF,
        origin=MovementOrigin.WAY_BACK,
        attempt=owed.attempt,
        seller_id=owed.seller_id,
        amount_minor=owed.amount_minor,
        currency_code=owed.currency_code,
        charge_minor=owed.amount_minor,
        state=MovementState.MADE,
        actor_id=actor_id,
        note=note,
        create_time=create_time,
    )


def written_off_less(written_off: Movement, left_minor: int) -> Movement:
    """Return a write-off of which only so much stands."""
    if not left_minor:
        return replace(written_off, state=MovementState.REFUSED)
    return replace(written_off, amount_minor=left_minor, charge_minor=left_minor)


def _since(step: Step, movements: Sequence[Movement], paid_time: datetime) -> datetime | None:
    if isinstance(step, Wait):
        return paid_time if step.reason is WaitReason.SELLER_OWES else None
    if step.kind is not MovementKind.REVERSAL:
        return None
    tried = (one for one in movements if one.movement_id == step.movement_id and one.refusals)
    return next((one.create_time for one in tried), None)

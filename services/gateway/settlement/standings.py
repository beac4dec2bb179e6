"""How each seller of a payment stands: what it is owed, has, and waits for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.gateway.intents.domain import Intent
from services.gateway.refunds.domain import Refund
from services.gateway.settlement.domain import Movement, MovementKind, MovementState, Wait, WaitReason
from services.gateway.settlement.moves import Step, is_seen, refused_before, steps, wait_of
from services.gateway.settlement.positions import positions
from services.shared.amounts import written
from services.shared.payment import Attention
from services.shared.states import AttentionReason

PATIENCE: Final = timedelta(days=1)
"""How long a seller's part may wait for something that passes before an operator is asked for."""
NEVER_BY_ITSELF: Final = frozenset({WaitReason.SELLER_GONE, WaitReason.REFUSED})
"""What does not pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerStanding:
    """One seller of the attempt that counts, in minor units of the payment's currency."""

    seller_id: str
    owed_minor: int
    """What is due to it, whether it has that or not."""
    held_minor: int = 0
    """What of that it is not to have while disputes are open."""
    transferred_minor: int = 0
    """What it has."""
    waits_for: str = ""
    """A `WaitReason`; empty where it waits for nothing but its turn."""
    needs_operator: bool = False
    """It waits for what does not pass, or for longer than a day."""

    def attention(self, currency_code: str) -> Attention | None:
        """Return what an operator has to know of it."""
        if not self.needs_operator:
            return None
        missing = self.owed_minor - self.held_minor - self.transferred_minor
        said = SAID[WaitReason(self.waits_for)]
        detail = f"{self.seller_id} has not got {written(missing, currency_code)}: {said}."
        return Attention(reason=AttentionReason.SETTLEMENT_WAITS, detail=detail)


SAID: Final = {
    WaitReason.BALANCE: "the platform's balance at Stripe does not cover it",
    WaitReason.SELLER: "its account cannot receive transfers",
    WaitReason.SELLER_GONE: "its account is closed, or closed to us",
    WaitReason.REFUSED: "Stripe refuses the transfer",
}


def standings(
    payment_id: str, intent: Intent, refunds: Sequence[Refund], movements: Iterable[Movement]
) -> tuple[SellerStanding, ...]:
    """Return how the sellers of the attempt that counts stand; what is asked for and not answered is not there yet."""
    if not intent.captured_minor:
        return ()
    known = [one for one in movements if one.state is not MovementState.PENDING]
    next_steps = {one.seller_id: one for one in steps(payment_id, intent, refunds, known, counts=True, now=None)}
    found = []
    for position in positions(intent, refunds, known):
        refused = _refused(next_steps.get(position.seller_id), known)
        reason = wait_of(refused) if refused is not None else _reason(next_steps.get(position.seller_id), intent)
        found.append(
            SellerStanding(
                seller_id=position.seller_id,
                owed_minor=position.owed_minor,
                held_minor=position.held_minor,
                transferred_minor=position.moved_minor + (0 if is_seen(intent, known) else _with_charge_minor(intent)),
                waits_for=reason or "",
                needs_operator=refused is not None and needs_operator(refused),
            )
        )
    return tuple(found)


def _refused(step: Step | None, movements: Iterable[Movement]) -> Movement | None:
    return refused_before(step, movements) if isinstance(step, Movement) else None


def _reason(step: Step | None, intent: Intent) -> WaitReason | None:
    """Return what a step waits for that Stripe did not refuse; its time comes before whether the charge was booked."""
    is_out = isinstance(step, Movement) and step.kind is MovementKind.TRANSFER
    waits_for = step.reason if isinstance(step, Wait) else None
    if not intent.is_destination and (is_out or waits_for is WaitReason.CHARGE):
        return waits_for if intent.settlement.pay_time is None else WaitReason.PAY_TIME
    return waits_for


def needs_operator(refused: Movement) -> bool:
    """Whether what Stripe refused does not pass by itself, or was waited for for long."""
    reason = wait_of(refused)
    if reason is WaitReason.SELLER_OWES or refused.refuse_time is None:  # a receivable says so itself
        return False
    return reason in NEVER_BY_ITSELF or waited(refused, refused.refuse_time) >= PATIENCE


def waited(refused: Movement, now: datetime) -> timedelta:
    """Return for how long something was asked for in vain."""
    return now - refused.create_time


def _with_charge_minor(intent: Intent) -> int:
    """Return what Stripe moves with a destination charge by itself, and was not seen yet."""
    if not intent.is_destination:
        return 0
    fee_minor = intent.application_fee_minor if intent.captured_fee_minor is None else intent.captured_fee_minor
    return intent.captured_minor - min(fee_minor, intent.captured_minor)

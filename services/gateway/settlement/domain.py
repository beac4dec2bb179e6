"""What moves between the platform and sellers, as last seen at Stripe; and on which terms. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

BALANCE_INSUFFICIENT: Final = "balance_insufficient"
"""Stripe's code of a transfer that the platform, or a reversal that the seller, has no money for."""


class DisputeRecovery(StrEnum):
    """When a seller gives back its part of what a dispute takes."""

    NONE = "NONE"
    """Never: the platform bears it."""
    AT_WITHDRAWAL = "AT_WITHDRAWAL"
    """At once. It is held until the dispute ends, and given again if it is won."""
    AT_LOSS = "AT_LOSS"
    """Once the dispute is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementTerms:
    """On which terms the sellers of a charge get their parts; decided when the charge is asked for."""

    pay_time: datetime | None = None
    """Before this nothing is transferred by a call of ours; None for as soon as it is captured."""
    dispute_recovery: DisputeRecovery = DisputeRecovery.NONE
    nets_receivables: bool = False
    """What a seller owes from other payments is kept back from its transfers of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledPart:
    """What one of several captures came to on the platform's balance, before fees."""

    charge_minor: int
    """In the payment's currency."""
    amount_minor: int
    """In that of the balance."""
    create_time: datetime
    """When Stripe booked it; what it moved with it is of the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a charge came to on the platform's balance, before fees: in its own currency, or in another by a rate."""

    charge_minor: int
    """In the payment's currency; less than was captured while not each capture is booked."""
    amount_minor: int
    """The same in `currency_code`: their ratio is the rate by which sellers are paid."""
    currency_code: str
    parts: tuple[SettledPart, ...] = ()
    """Of several captures in another currency: each by the rate of its day. They add up to the whole."""

    def at(self, time: datetime) -> Self:
        """Return by what rate Stripe moved something with the charge then: that of the capture booked next to it."""
        part = min(self.parts, key=lambda one: abs(one.create_time - time), default=None)
        if part is None:
            return self
        return replace(self, charge_minor=part.charge_minor, amount_minor=part.amount_minor, parts=())


class MovementKind(StrEnum):
    """What moves."""

    TRANSFER = "TRANSFER"
    """From the platform to a seller; `tr_…`."""
    REVERSAL = "REVERSAL"
    """A transfer, or a part of it, back to the platform; `trr_…`."""
    FEE = "FEE"
    """The application fee of a destination charge, from its seller to the platform; `fee_…`."""
    FEE_REFUND = "FEE_REFUND"
    """An application fee, or a part of it, back to the seller; `fr_…`."""
    WRITE_OFF = "WRITE_OFF"
    """What a seller was to give back, and is not to any more: nothing moves at Stripe."""
    NETTING_OUT = "NETTING_OUT"
    """What a seller was to get of this payment, kept back for what it owes of another: nothing moves at Stripe."""
    NETTING_IN = "NETTING_IN"
    """The other side of that, on the payment of which it was owed: it counts as given back."""


class MovementState(StrEnum):
    """Where it stands."""

    PENDING = "PENDING"
    """Asked for, and not answered."""
    MADE = "MADE"
    REFUSED = "REFUSED"
    """Stripe refused it: nothing moved."""


class MovementOrigin(StrEnum):
    """Who made it, and from what."""

    STRIPE = "STRIPE"
    """Stripe, with a destination charge; or what was made at its dashboard."""
    SOURCE = "SOURCE"
    """We, from a charge (`source_transaction`), up to what that took."""
    EXCESS = "EXCESS"
    """We, from the platform's available balance: what the charge does not cover."""
    WAY_BACK = "WAY_BACK"
    """We, from what was transferred or kept as a fee before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One transfer, reversal, application fee or refund of one."""

    movement_id: str
    """Ours, `transfer_…`, `reversal_…`, `fee_…`, `feerefund_…`; what Stripe made has one that is made of its id."""
    kind: MovementKind
    origin: MovementOrigin
    attempt: int
    seller_id: str
    amount_minor: int
    """In `currency_code`; always above zero, `kind` says where it goes."""
    currency_code: str
    """That of the object at Stripe: what the charge was settled in."""
    charge_minor: int
    """The same in the currency of the payment."""
    state: MovementState = MovementState.PENDING
    of_movement_id: str = ""
    """What it goes back on: the transfer of a reversal, the fee of a fee refund."""
    netted_with: str = ""
    """Of a netting: the other payment, where the other side of it is."""
    fact: str = ""
    """What it is for, such as the cumulative amount that it leads to: unique within the payment; empty for Stripe's."""
    stripe_id: str = ""
    actor_id: str = ""
    """Who asked for it; empty where that follows from what happened to the payment."""
    call_id: str = ""
    """Of the call that made it, by which a request that comes again is known; empty where no call of ours did."""
    note: str = ""
    """Why, in the words of who asked."""
    stripe_refund_id: str = ""
    """Of a reversal: of the refund with which Stripe made it, at its dashboard."""
    is_assumed: bool = False
    """Only its charge was seen, which names it: amount and currency are the charge's, and may be others at Stripe."""
    refusals: int = 0
    """How often Stripe refused it; the next try is another call, under another key."""
    refusal_code: str = ""
    """Why it did so last, in Stripe's words: `balance_insufficient` where whoever gives it lacks the money."""
    refuse_time: datetime | None = None
    """When that was."""
    create_time: datetime

    @property
    def is_out(self) -> bool:
        """Whether it moved, or may have."""
        return self.state is not MovementState.REFUSED

    def settled_minor(self, charge_minor: int, *, step_minor: int = 1) -> int:
        """Return what so much of it in the payment's currency is in its own: all of it exactly, a part rounded down.

        A part is a multiple of `step_minor`, the step of its currency.
        """
        amount_minor = charge_minor * self.amount_minor // self.charge_minor
        return amount_minor if charge_minor == self.charge_minor else amount_minor - amount_minor % step_minor

    def charged_minor(self, amount_minor: int) -> int:
        """Return what so much of it is in the payment's currency: all of it exactly, a part rounded up."""
        return -(-amount_minor * self.charge_minor // self.amount_minor)


class WaitReason(StrEnum):
    """Why a seller's part does not move on by itself now."""

    PAY_TIME = "PAY_TIME"
    """It is paid later, by the terms of the charge."""
    CHARGE = "CHARGE"
    """Stripe has not shown yet what the charge came to, or what it moved with it."""
    HELD_BACK = "HELD_BACK"
    """Stripe doubts the charge: a warning of fraud, or a review that is open."""
    CALL = "CALL"
    """A call was made whose answer is not known."""
    BALANCE = "BALANCE"
    """The platform has not enough available for it."""
    SELLER = "SELLER"
    """The seller's account cannot receive it."""
    SELLER_GONE = "SELLER_GONE"
    """The seller's account is closed, or closed to us; an operator decides."""
    SELLER_OWES = "SELLER_OWES"
    """The seller's balance does not cover what it is to give back."""
    REFUSED = "REFUSED"
    """Stripe refuses it for another reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why nothing is asked for at Stripe for a seller now."""

    attempt: int
    seller_id: str
    reason: WaitReason
    until: datetime | None = None
    """None where something else has to happen first."""


TO_SELLER: Final = frozenset({MovementKind.TRANSFER, MovementKind.FEE_REFUND, MovementKind.NETTING_OUT})
"""What gives a seller money, or counts as that; the others take some."""

NOT_AT_STRIPE: Final = frozenset({MovementKind.WRITE_OFF, MovementKind.NETTING_OUT, MovementKind.NETTING_IN})
"""What moves nothing at Stripe, and has no id there."""

BACK: Final = {MovementKind.TRANSFER: MovementKind.REVERSAL, MovementKind.FEE: MovementKind.FEE_REFUND}
"""What goes back on what."""


@dataclass(frozen=True, slots=True)
class WentBack:
    """What of a transfer or a fee went back, or may have."""

    amount_minor: int
    """In the currency of the object at Stripe."""
    charge_minor: int
    """In that of the payment."""


def went_back(on: Movement, movements: Iterable[Movement]) -> WentBack:
    """Return what went back on a transfer or a fee, what was asked for and is not answered included."""
    found = [one for one in movements if one.of_movement_id == on.movement_id and one.is_out]
    return WentBack(sum(one.amount_minor for one in found), sum(one.charge_minor for one in found))


def is_short(movement: Movement) -> bool:
    """Whether Stripe refused it last because the money for it is not there: it may be tried again."""
    return movement.state is MovementState.REFUSED and movement.refusal_code == BALANCE_INSUFFICIENT

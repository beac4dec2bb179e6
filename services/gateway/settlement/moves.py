"""What is to be asked for at Stripe next so that each seller has what it is to have of a payment. Pure.

A step is a movement that is to be made, or why there is none now. It follows from what is true of an attempt alone, not
from what was asked before, so whoever computes it after a crash comes to the same movement under the same fact: asked
for twice, it is made once. Of a seller one movement is made at a time, and none while an earlier one is not answered.

What is transferred from a charge (`SOURCE`) is together at most what the charge came to; what sellers get beyond that
comes from what the platform has available (`EXCESS`). In another currency than the charge's each seller gets what the
exchange rate of the charge makes of its part, rounded down: the rest stays with the platform. What somebody moved by
hand, here or at Stripe's dashboard, is left so: what was taken back is not sent again, and a fee that was given back
is not taken again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.gateway.errors import SellerNotFound, TransferExceedsPart
from services.gateway.intents.domain import Intent
from services.gateway.refunds.domain import Refund
from services.gateway.settlement import facts
from services.gateway.settlement.domain import (
    BALANCE_INSUFFICIENT,
    Movement,
    MovementKind,
    MovementOrigin,
    MovementState,
    Settled,
    Wait,
    WaitReason,
    went_back,
)
from services.gateway.settlement.positions import Position, positions
from services.gateway.stripe_api.currencies import limits

Step = Movement | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """What somebody asks to be transferred."""

    seller_id: str
    charge_minor: int
    """In the payment's currency."""
    actor_id: str


REASONS: Final = {
    BALANCE_INSUFFICIENT: WaitReason.BALANCE,
    "insufficient_capabilities_for_transfer": WaitReason.SELLER,
    "transfers_not_allowed": WaitReason.SELLER,
    "account_invalid": WaitReason.SELLER_GONE,
    "resource_missing": WaitReason.SELLER_GONE,
}
"""What a transfer waits for after Stripe refused it, by the code of the refusal."""
OF_SELLERS: Final = frozenset({WaitReason.SELLER, WaitReason.SELLER_GONE})
"""What passes when the seller's account changes, of which we are told."""
REST_FIRST: Final = timedelta(minutes=1)
REST_MAX: Final = timedelta(hours=1)
REST_MAX_OF_SELLERS: Final = timedelta(days=1)
"""Between two tries of what Stripe refused, doubling from the first; of what a seller has to do we are told."""


def steps(
    payment_id: str,
    intent: Intent,
    refunds: Collection[Refund],
    movements: Sequence[Movement],
    *,
    counts: bool,
    now: datetime | None,
    at_once: Collection[str] = (),
) -> tuple[Step, ...]:
    """Return the next step of each seller of an attempt who has not what it is to have.

    `counts` says whether it is the attempt that counts: of another, what is not transferred by Stripe itself goes to no
    seller. Without `now` nothing waits for its time, and what Stripe refused is asked for again; that of the sellers
    `at_once` in any case.
    """
    if not intent.captured_minor:
        return ()
    found = []
    refund_ids = _ids(refunds)
    for position in positions(intent, refunds, movements):
        own = _of(movements, position)
        step = _Seller(payment_id, intent, position, own, movements, counts, refund_ids).step(now)
        if step is not None:
            found.append(step if now is None or step.seller_id in at_once else _rested(step, movements, now))
    return tuple(found)


def by_hand(
    payment_id: str, intent: Intent, refunds: Collection[Refund], movements: Sequence[Movement], asked: ByHand
) -> Movement | None:
    """Return the transfer that somebody asked for, before its time or of what is withheld; None if it comes to 0.

    Raises SellerNotFound, or TransferExceedsPart for more than the seller is still to have.
    """
    position = next((one for one in positions(intent, refunds, movements) if one.seller_id == asked.seller_id), None)
    if position is None:
        raise SellerNotFound(field="seller_id", seller_id=asked.seller_id)
    # What Stripe transfers with the charge by itself, and was not seen yet, is not sent a second time.
    is_known = is_seen(intent, movements) or not intent.is_destination
    due_minor = max(0, position.due_minor) if is_known else 0
    if asked.charge_minor > due_minor or intent.rate is None:
        raise TransferExceedsPart(field="amount", due_minor=due_minor)
    own = _of(movements, position)
    seller = _Seller(payment_id, intent, position, own, movements, counts=True, refund_ids=_ids(refunds))
    transfer = seller.transfer(asked.charge_minor, intent.rate, is_whole=True)
    return None if transfer is None else replace(transfer, actor_id=asked.actor_id)


def refused_before(step: Movement, movements: Iterable[Movement]) -> Movement | None:
    """Return how a movement that is to be made was refused before; None if it was not."""
    return next((one for one in movements if one.movement_id == step.movement_id and not one.is_out), None)


def wait_of(refused: Movement) -> WaitReason:
    """Return what a movement that Stripe refused waits for."""
    if refused.kind is MovementKind.REVERSAL:
        return WaitReason.SELLER_OWES
    return REASONS.get(refused.refusal_code, WaitReason.REFUSED)


def _rested(step: Step, movements: Iterable[Movement], now: datetime) -> Step:
    """Return a step if it was not refused before, or has waited for long enough since."""
    refused = refused_before(step, movements) if isinstance(step, Movement) else None
    if refused is None or refused.refuse_time is None:
        return step
    reason = wait_of(refused)
    longest = REST_MAX if reason is WaitReason.BALANCE else REST_MAX_OF_SELLERS
    doublings = min(max(refused.refusals - 1, 0), 20)
    until = refused.refuse_time + min(REST_FIRST * (1 << doublings), longest)
    if until <= now:
        return step
    return Wait(attempt=refused.attempt, seller_id=refused.seller_id, reason=reason, until=until)


def _ids(refunds: Collection[Refund]) -> frozenset[str]:
    return frozenset(one.stripe_refund_id for one in refunds if one.stripe_refund_id)


def _of(movements: Sequence[Movement], position: Position) -> tuple[Movement, ...]:
    return tuple(
        one
        for one in movements
        if (one.attempt, one.seller_id) == (position.attempt, position.seller_id) and one.is_out
    )


@dataclass(frozen=True, slots=True)
class _Seller:
    """One seller of an attempt."""

    payment_id: str
    intent: Intent
    position: Position
    own: tuple[Movement, ...]
    """What was moved to and from it, without what was refused."""
    all: Sequence[Movement]
    counts: bool
    refund_ids: Collection[str]
    """Stripe's, of the refunds that are known."""

    def step(self, now: datetime | None) -> Step | None:
        """Return what is to be done next; None where it has what it is to have."""
        if any(one.state is MovementState.PENDING for one in self.own):
            return self._wait(WaitReason.CALL)
        if self.intent.is_destination and not is_seen(self.intent, self.own):
            # Stripe moves it with the charge. What was not seen yet cannot go back.
            return self._wait(WaitReason.CHARGE) if self.position.taken_back_minor else None
        if self._is_misread():
            return self._wait(WaitReason.CHARGE)
        due_minor = self._due_minor()
        # Of a destination charge more comes back than is due: the fee that is given back then, too. So also of a charge
        # that was captured in parts each transfer comes back first, and all of the fee after that. What is withheld is
        # lacking all the same: for it nothing more is taken back.
        lacking_minor = max(due_minor, self.position.due_minor) if due_minor >= 0 else due_minor
        if lacking_minor < max(0, self._fee_too_much_minor()):
            back = self._back(-lacking_minor)
            if back is not None:
                return back
        return self._forth(due_minor, now) if due_minor > 0 else None

    def _is_misread(self) -> bool:
        """Whether more is taken to have come with the charge, from another currency, than was captured of it.

        Then the rate is wrong by which that was read, and by such a rate nothing is taken back from a seller.
        """
        if not self.intent.is_destination:
            return False
        exchanged_minor = sum(
            one.charge_minor
            for one in self.own
            if one.kind is MovementKind.TRANSFER
            and one.origin is MovementOrigin.STRIPE
            and one.amount_minor != one.charge_minor
        )
        return exchanged_minor > self.intent.captured_minor

    def _due_minor(self) -> int:
        if not self.counts and not self.intent.is_destination:
            return -self.position.moved_minor
        due_minor = self.position.due_minor
        if due_minor > 0:
            return max(0, due_minor - withheld_minor(self._by_hand(), self.refund_ids))
        return min(0, due_minor + self._given_minor())

    def _back(self, minor: int) -> Step | None:
        """Return what is taken back: of Stripe's own transfer with the fee that is given back after that."""
        fee_minor = max(0, self._fee_too_much_minor())
        for transfer in self._reversible():
            wanted = minor + fee_minor if transfer.origin is MovementOrigin.STRIPE else minor
            reversal = self.reversal(transfer, min(wanted, transfer.charge_minor - self._back_minor(transfer)))
            if reversal is not None:
                return reversal
        return self._wait(WaitReason.SELLER_OWES) if minor > self._unmovable_minor() else None

    def _forth(self, minor: int, now: datetime | None) -> Step | None:
        fee_minor = self._fee_too_much_minor()
        if fee_minor > 0:
            return self._fee_refund(min(minor, fee_minor))
        if self.intent.is_doubted:
            return self._wait(WaitReason.HELD_BACK)
        pay_time = None if self.intent.is_destination else self.intent.settlement.pay_time
        if pay_time is not None and now is not None and now < pay_time:
            return self._wait(WaitReason.PAY_TIME, until=pay_time)
        if self.intent.rate is None:
            return self._wait(WaitReason.CHARGE)
        return self.transfer(minor, self.intent.rate)

    def transfer(self, minor: int, settled: Settled, *, is_whole: bool = False) -> Movement | None:
        """Return the next transfer of what a seller is to get, from the charge as far as that goes; None if it is 0.

        With `is_whole` what the charge does not cover all of comes from the balance.
        """
        moved_minor, had_minor = self.position.moved_minor, exchanged(self.position.moved_minor, settled)
        if exchanged(moved_minor + minor, settled) <= had_minor:
            return None
        origin, charge_minor = MovementOrigin.EXCESS, minor
        if not self.intent.is_destination:
            left_minor = settled.amount_minor - _taken_minor(self.all, self.intent.attempt)
            covered_minor = min(minor, most_within(had_minor + left_minor, settled) - moved_minor)
            is_enough = covered_minor == minor or not is_whole
            if is_enough and exchanged(moved_minor + covered_minor, settled) > had_minor:
                origin, charge_minor = MovementOrigin.SOURCE, covered_minor
        cumulative = self._sum(MovementKind.TRANSFER) + charge_minor
        return self._movement(
            MovementKind.TRANSFER,
            origin,
            f"transfer:{self.intent.attempt}:{self.position.seller_id}:{cumulative}:{origin.lower()}",
            exchanged(moved_minor + charge_minor, settled) - had_minor,
            settled.currency_code,
            charge_minor,
        )

    def reversal(self, transfer: Movement, charge_minor: int) -> Movement | None:
        """Return a reversal in proportion of what was transferred; None if that is 0."""
        return self._way_back(MovementKind.REVERSAL, transfer, charge_minor)

    def _fee_refund(self, minor: int) -> Movement | None:
        for fee in (one for one in self.own if one.kind is MovementKind.FEE):
            given_minor = min(minor, fee.charge_minor - self._back_minor(fee))
            if given_minor > 0:
                return self._way_back(MovementKind.FEE_REFUND, fee, given_minor)
        return None

    def _way_back(self, kind: MovementKind, on: Movement, charge_minor: int) -> Movement | None:
        before = went_back(on, self.own)
        until_minor = before.charge_minor + charge_minor
        amount_minor = back_until_minor(on, until_minor) - before.amount_minor
        if amount_minor <= 0:
            return None
        fact = facts.way_back(kind, on.movement_id, until_minor)
        return self._movement(
            kind,
            MovementOrigin.WAY_BACK,
            fact,
            amount_minor,
            on.currency_code,
            charge_minor,
            of_movement_id=on.movement_id,
        )

    def _reversible(self) -> Iterator[Movement]:
        """Yield what can be taken back: first what Stripe always takes back, then the newest."""
        transfers = [one for one in self.own if one.kind is MovementKind.TRANSFER]
        for transfer in sorted(
            transfers, key=lambda one: (one.origin is not MovementOrigin.STRIPE, -one.create_time.timestamp())
        ):
            if self._back_minor(transfer) < transfer.charge_minor:
                yield transfer

    def _unmovable_minor(self) -> int:
        """Return what is so little in the currency of the transfers that it comes to nothing there."""
        return sum(transfer.charge_minor - self._back_minor(transfer) for transfer in self._reversible())

    def _fee_too_much_minor(self) -> int:
        return fee_too_much_minor(self.intent, self.position, self.own)

    def _by_hand(self) -> tuple[Movement, ...]:
        """Return what was moved, without what Stripe transfers with a destination charge: nobody asked for that."""
        if not self.intent.is_destination:
            return self.own
        return tuple(one for one in self.own if one.kind is not MovementKind.TRANSFER or one.actor_id)

    def _given_minor(self) -> int:
        """Return what of the fee was given back by hand beyond what is to be: it is not taken back by itself.

        With a refund of the dashboard goes back at most so much of the fee as of the transfer: that is no gift.
        """
        with_refunds = sum(one.charge_minor for one in self.own if one.stripe_refund_id in self.refund_ids)
        transferred = self._sum(MovementKind.TRANSFER, MovementOrigin.STRIPE)
        of_refunds = -(-with_refunds * self._sum(MovementKind.FEE) // transferred) if transferred else 0
        given = max(0, _given_minor(self.own) - of_refunds)
        return min(given, max(0, -self._fee_too_much_minor()))

    def _back_minor(self, gone: Movement) -> int:
        return went_back(gone, self.own).charge_minor

    def _sum(self, kind: MovementKind, origin: MovementOrigin | None = None) -> int:
        return sum(one.charge_minor for one in self.own if one.kind is kind and origin in (None, one.origin))

    def _movement(  # noqa: PLR0917 what a movement is made of
        self,
        kind: MovementKind,
        origin: MovementOrigin,
        fact: str,
        amount_minor: int,
        currency_code: str,
        charge_minor: int,
        *,
        of_movement_id: str = "",
    ) -> Movement:
        return Movement(
            movement_id=facts.movement_id(kind, self.payment_id, fact),
            kind=kind,
            origin=origin,
            attempt=self.intent.attempt,
            seller_id=self.position.seller_id,
            amount_minor=amount_minor,
            currency_code=currency_code,
            charge_minor=charge_minor,
            of_movement_id=of_movement_id,
            fact=fact,
            create_time=self.intent.create_time,
        )

    def _wait(self, reason: WaitReason, *, until: datetime | None = None) -> Wait:
        return Wait(attempt=self.intent.attempt, seller_id=self.position.seller_id, reason=reason, until=until)


def digest(step: Step, intent: Intent) -> str:
    """Return what tells a step of an attempt from the next of the same seller, and from when it waited for less."""
    if isinstance(step, Movement):
        return f"{step.attempt}/{step.seller_id}/{step.fact}={step.amount_minor}"
    booked = f"/{intent.balance_transaction_id}" if step.reason is WaitReason.CHARGE else ""
    return f"{step.attempt}/{step.seller_id}/{step.reason}{booked}"


def fee_too_much_minor(intent: Intent, position: Position, movements: Iterable[Movement]) -> int:
    """Return what the application fee of a destination charge is above what it is to be."""
    if not intent.is_destination:
        return 0
    signs = {MovementKind.FEE: 1, MovementKind.FEE_REFUND: -1}
    fee_minor = sum(
        signs.get(one.kind, 0) * one.charge_minor
        for one in movements
        if one.attempt == intent.attempt and one.seller_id == position.seller_id and one.is_out
    )
    return fee_minor - position.fee_minor


def is_seen(intent: Intent, movements: Iterable[Movement]) -> bool:
    """Whether all is known that Stripe moved by itself with a destination charge."""
    with_charge = [
        one for one in movements if one.attempt == intent.attempt and one.origin is MovementOrigin.STRIPE and one.is_out
    ]
    fee_minor = intent.application_fee_minor if intent.captured_fee_minor is None else intent.captured_fee_minor
    sums = {
        kind: sum(one.charge_minor for one in with_charge if one.kind is kind)
        for kind in (MovementKind.TRANSFER, MovementKind.FEE)
    }
    return sums[MovementKind.TRANSFER] >= intent.captured_minor and sums[MovementKind.FEE] >= min(
        fee_minor, intent.captured_minor
    )


def exchanged(charge_minor: int, rate: Settled) -> int:
    """Return what an amount of a charge is in the currency that it was settled in, rounded down to what Stripe takes.

    Of a growing amount the differences add up, so that parts never come to more than the whole.
    """
    if not rate.charge_minor:
        return 0
    amount_minor = charge_minor * rate.amount_minor // rate.charge_minor
    return amount_minor - amount_minor % limits(rate.currency_code).step_minor


def back_until_minor(on: Movement, until_minor: int) -> int:
    """Return how much of a transfer or a fee went back in its own currency, once so much of the payment's did."""
    return on.settled_minor(until_minor, step_minor=limits(on.currency_code).step_minor)


def most_within(amount_minor: int, rate: Settled) -> int:
    """Return the largest amount of a charge that does not come to more than this in the currency of its settlement."""
    step_minor = limits(rate.currency_code).step_minor
    above_minor = amount_minor - amount_minor % step_minor + step_minor
    return (above_minor * rate.charge_minor - 1) // rate.amount_minor if rate.amount_minor else 0


def withheld_minor(movements: Iterable[Movement], refund_ids: Collection[str]) -> int:
    """Return what was taken back from a seller by hand, and not sent again by hand: it is not sent by itself.

    What Stripe took back with a refund, of those that are known, is the seller's part of that.
    """
    withheld = 0
    for one in sorted(movements, key=lambda each: (each.create_time, each.movement_id)):
        if one.kind is MovementKind.REVERSAL and _is_by_hand(one) and one.stripe_refund_id not in refund_ids:
            withheld += one.charge_minor
        elif one.kind is MovementKind.TRANSFER and _is_by_hand(one):
            withheld = max(0, withheld - one.charge_minor)
    return withheld


def _given_minor(movements: Iterable[Movement]) -> int:
    """Return what of a fee was given back by hand."""
    return sum(one.charge_minor for one in movements if one.kind is MovementKind.FEE_REFUND and _is_by_hand(one))


def _is_by_hand(movement: Movement) -> bool:
    """Whether somebody asked for it: here, or at Stripe's dashboard."""
    return movement.actor_id != "" or movement.origin is MovementOrigin.STRIPE


def _taken_minor(movements: Iterable[Movement], attempt: int) -> int:
    """Return what was transferred from a charge: what of that was reversed may not be taken again."""
    return sum(
        one.amount_minor
        for one in movements
        if one.attempt == attempt and one.is_out and one.origin is MovementOrigin.SOURCE
    )

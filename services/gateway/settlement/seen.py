"""What moved at Stripe, seen there, as movements: also what Stripe made by itself, or somebody at its dashboard. Pure.

A transfer, a fee and what went back on them never change and are never taken away. So what shows one may be applied
whenever it comes, twice or late, and whoever saw more before loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from services.gateway.intents.domain import ChargeFacts
from services.gateway.settlement import facts
from services.gateway.settlement.domain import BACK, Movement, MovementKind, MovementOrigin, MovementState, went_back


@dataclass(frozen=True, slots=True, kw_only=True)
class BackFacts:
    """One reversal, or one refund of a fee, as Stripe showed it."""

    stripe_id: str
    movement_id: str
    """Ours, as its metadata claims; empty for one that no call of ours made."""
    amount_minor: int
    actor_id: str = ""
    """Who asked us for it, as its metadata says."""
    call_id: str = ""
    """Of our call that made it, as its metadata says."""
    stripe_refund_id: str = ""
    """Of the refund with which Stripe made it; empty for none."""
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedFacts:
    """One transfer or application fee as Stripe showed it, in ISO minor units, with what went back on it."""

    kind: MovementKind
    stripe_id: str
    movement_id: str = ""
    """Ours, as its metadata claims; empty for one that no call of ours made."""
    actor_id: str = ""
    """Who asked us for it, as its metadata says."""
    call_id: str = ""
    """Of our call that made it, as its metadata says."""
    account_id: str = ""
    """The seller's at Stripe."""
    charge_id: str = ""
    """From which it was made; empty for none."""
    amount_minor: int
    currency_code: str
    create_time: datetime
    is_assumed: bool = False
    """It was not seen itself: its charge names it, and says amounts in its own currency."""
    back: tuple[BackFacts, ...] = ()
    back_minor: int = 0
    """What went back in all."""

    @property
    def is_whole(self) -> bool:
        """Whether all that went back on it is shown with it."""
        return sum(one.amount_minor for one in self.back) == self.back_minor


def came_with(charge: ChargeFacts) -> Iterator[MovedFacts]:
    """Yield the transfer and the fee of a destination charge, as far as it names them."""
    for kind, stripe_id, amount_minor in (
        (MovementKind.TRANSFER, charge.transfer_id, charge.transfer_minor),
        (MovementKind.FEE, charge.fee_id, charge.fee_minor),
    ):
        if stripe_id and amount_minor:
            yield MovedFacts(
                kind=kind,
                stripe_id=stripe_id,
                charge_id=charge.charge_id,
                amount_minor=amount_minor,
                currency_code=charge.currency_code,
                create_time=charge.create_time,
                is_assumed=True,
            )


def seen(
    known: Mapping[str, Movement], moved: MovedFacts, *, attempt: int, seller_id: str, charge_minor: int
) -> dict[str, Movement]:
    """Return the movements of a payment after one was seen that came to so much in their currency."""
    on = _known(known, moved.stripe_id, moved.movement_id) or Movement(
        movement_id=_new_id(known, moved.kind, moved),
        kind=moved.kind,
        origin=_origin(moved),
        attempt=attempt,
        seller_id=seller_id,
        amount_minor=moved.amount_minor,
        currency_code=moved.currency_code,
        charge_minor=charge_minor,
        is_assumed=moved.is_assumed,
        actor_id=moved.actor_id if moved.movement_id else "",
        call_id=moved.call_id if moved.movement_id else "",
        create_time=moved.create_time,
    )
    on = _made(_of_both(on, moved), moved.stripe_id)  # what went back is in the currency that it shows
    found = {**known, on.movement_id: on}
    for back in sorted(moved.back, key=lambda one: (one.create_time, one.stripe_id)):
        one = _known(found, back.stripe_id, back.movement_id) or _back(on, back, found)
        found[one.movement_id] = _made(one, back.stripe_id)
    return found


def _of_both(on: Movement, moved: MovedFacts) -> Movement:
    """Return a movement after it or its charge was seen: it says what it came to there, the charge what it is here."""
    if moved.is_assumed:
        return replace(on, charge_minor=moved.amount_minor)
    return replace(on, amount_minor=moved.amount_minor, currency_code=moved.currency_code, is_assumed=False)


def unseen(known: Mapping[str, Movement], moved: MovedFacts) -> bool:
    """Whether a transfer or a fee shows anything that the movements do not say."""
    shown = [(moved.stripe_id, moved.movement_id), *((one.stripe_id, one.movement_id) for one in moved.back)]
    on = _known(known, moved.stripe_id, moved.movement_id)
    is_news = on is not None and on.is_assumed and not moved.is_assumed
    return is_news or any(not _is_made(_known(known, *ids)) for ids in shown) or not moved.is_whole


def transferred_minor(movements: Mapping[str, Movement], attempt: int) -> int:
    """Return what Stripe is known to have transferred with an attempt's destination charge."""
    return sum(
        one.charge_minor
        for one in movements.values()
        if (one.attempt, one.kind, one.origin) == (attempt, MovementKind.TRANSFER, MovementOrigin.STRIPE)
    )


def _new_id(known: Mapping[str, Movement], kind: MovementKind, shown: MovedFacts | BackFacts) -> str:
    """Return the id of a movement of which nothing is kept: its own, where a call of ours made it.

    We forgot it, as with a database that lost its last commits, or Stripe said of the call that it had no effect.
    """
    claimed = shown.movement_id
    return claimed if claimed and claimed not in known else facts.of_stripe(kind, shown.stripe_id)


def _origin(moved: MovedFacts) -> MovementOrigin:
    if not moved.movement_id:
        return MovementOrigin.STRIPE
    return MovementOrigin.SOURCE if moved.charge_id else MovementOrigin.EXCESS


def _back(on: Movement, back: BackFacts, movements: Mapping[str, Movement]) -> Movement:
    before = went_back(on, movements.values())
    until_minor = on.charged_minor(before.amount_minor + back.amount_minor)
    kind = BACK[on.kind]
    return Movement(
        movement_id=_new_id(movements, kind, back),
        kind=kind,
        origin=MovementOrigin.WAY_BACK if back.movement_id else MovementOrigin.STRIPE,
        attempt=on.attempt,
        seller_id=on.seller_id,
        amount_minor=back.amount_minor,
        currency_code=on.currency_code,
        charge_minor=until_minor - before.charge_minor,
        of_movement_id=on.movement_id,
        actor_id=back.actor_id if back.movement_id else "",
        call_id=back.call_id if back.movement_id else "",
        stripe_refund_id=back.stripe_refund_id,
        create_time=back.create_time,
    )


def _made(movement: Movement, stripe_id: str) -> Movement:
    return replace(movement, state=MovementState.MADE, stripe_id=stripe_id, refusal_code="", refuse_time=None)


def _is_made(movement: Movement | None) -> bool:
    return movement is not None and movement.state is MovementState.MADE


def _known(movements: Mapping[str, Movement], stripe_id: str, movement_id: str) -> Movement | None:
    return next(_matching(movements, stripe_id, movement_id), None)


def _matching(movements: Mapping[str, Movement], stripe_id: str, movement_id: str) -> Iterator[Movement]:
    yield from (one for one in movements.values() if one.stripe_id == stripe_id)
    claimed = movements.get(movement_id)
    if claimed is not None and not claimed.stripe_id:
        yield claimed

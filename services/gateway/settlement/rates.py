"""What something that Stripe shows in another currency is in the payment's own. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from services.gateway.intents.domain import Intent
from services.gateway.settlement.domain import Movement, MovementKind, MovementOrigin, Settled
from services.gateway.settlement.moves import exchanged
from services.gateway.settlement.seen import MovedFacts
from services.gateway.stripe_api.currencies import limits


def charged_minor(intent: Intent, movements: Iterable[Movement], moved: MovedFacts) -> int:
    """Return what a movement of an attempt is in the payment's currency, which is another: by the rate of the charge.

    What Stripe moved by itself with a capture is of that capture's own rate. Where no rate is known it is that of what
    moved before.
    """
    known, rate = list(movements), intent.settled
    if rate is None or not rate.amount_minor or rate.currency_code != moved.currency_code:
        alike = (one for one in known if (one.attempt, one.currency_code) == (intent.attempt, moved.currency_code))
        return next((one.charged_minor(moved.amount_minor) for one in alike), moved.amount_minor)
    if moved.movement_id or not intent.is_destination or moved.charge_id != intent.charge_id:
        return _rounded_up(moved, rate)
    return _with_capture(intent, known, moved, rate)


def _with_capture(intent: Intent, known: Iterable[Movement], moved: MovedFacts, settled: Settled) -> int:
    """Return what it is of what was captured, or of the fee of that: the last of them is what is left, to the unit."""
    rate = settled.at(moved.create_time)
    whole_minor = intent.captured_minor
    if moved.kind is MovementKind.FEE:
        asked_minor = intent.application_fee_minor if intent.captured_fee_minor is None else intent.captured_fee_minor
        whole_minor = min(whole_minor, asked_minor)
    others = [
        one.charge_minor
        for one in known
        if (one.attempt, one.kind, one.origin) == (intent.attempt, moved.kind, MovementOrigin.STRIPE)
        and one.stripe_id != moved.stripe_id
    ]
    left_minor = whole_minor - sum(others)
    unit_minor = (len(others) + 1) * limits(rate.currency_code).step_minor
    is_last = len(others) + 1 == max(1, len(settled.parts))
    if is_last and left_minor > 0 and abs(exchanged(left_minor, rate) - moved.amount_minor) <= unit_minor:
        return left_minor
    return min(intent.captured_minor, _rounded_up(moved, rate))


def _rounded_up(moved: MovedFacts, rate: Settled) -> int:
    return -(-moved.amount_minor * rate.charge_minor // rate.amount_minor)

"""Where what is mirrored of a payment disagrees with what Stripe shows now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from services.gateway.diagnosis import checks
from services.gateway.diagnosis.records import AtStripe, AttemptSeen, Records, Seen
from services.gateway.reconciliation.domain import YOUNG
from services.shared.diagnosis import NOTHING, Check, Disagreement, Keeper, Saying, differ, money

IS_YOUNG = "Stripe made it less than five minutes ago: its event may be on its way."
IS_CALLED = "A call to Stripe has no answer yet."


def disagreements(records: Records, stripe: AtStripe, *, now: datetime) -> tuple[Disagreement, ...]:
    """Return where the two disagree; while a call has no answer, each may end with that."""
    found = [
        *(one for attempt in stripe.attempts for one in _attempt(records, attempt)),
        *_objects(checks.STRIPE_REFUND, stripe.refunds, now),
        *_objects(checks.STRIPE_DISPUTE, stripe.disputes, now),
        *_objects(checks.STRIPE_MOVEMENT, stripe.movements, now),
    ]
    if not any(one.is_due for one in records.calls):
        return tuple(found)
    return tuple(replace(one, waits_for=one.waits_for or IS_CALLED) for one in found)


def _attempt(records: Records, seen: AttemptSeen) -> Iterator[Disagreement]:
    payment = records.payment
    intent = payment.intents[seen.attempt]
    if not seen.is_there:
        sayings = (Saying(Keeper.MIRROR, seen.stripe_id), Saying(Keeper.STRIPE, NOTHING))
        yield Disagreement(check=checks.STRIPE_MISSING, about=f"attempt {seen.attempt}", sayings=sayings)
        return
    if seen.payment_id:
        yield from differ(
            checks.STRIPE_PAYMENT,
            (Keeper.MIRROR, payment.payment_id),
            (Keeper.STRIPE, seen.payment_id),
            about=seen.stripe_id,
        )
    pairs = (
        (checks.STRIPE_STATE, seen.state_here, seen.state),
        (checks.STRIPE_AMOUNT, seen.asked, seen.amount),
        (
            checks.STRIPE_CAPTURED,
            _taken(intent.captured_minor, intent.capturable_minor, payment.currency_code),
            _taken(seen.captured_minor, seen.capturable_minor, payment.currency_code),
        ),
    )
    for check, ours, theirs in pairs:
        yield from differ(check, (Keeper.MIRROR, ours), (Keeper.STRIPE, theirs), about=seen.stripe_id)


def _taken(captured_minor: int, capturable_minor: int, currency_code: str) -> str:
    held = f", holds {capturable_minor}" if capturable_minor else ""
    return money(captured_minor, currency_code) + held


def _objects(check: Check, seen: Iterable[Seen], now: datetime) -> Iterator[Disagreement]:
    for one in seen:
        is_young = one.create_time is not None and one.create_time > now - YOUNG
        yield from differ(
            check,
            (Keeper.MIRROR, one.ours),
            (Keeper.STRIPE, one.theirs),
            about=one.stripe_id,
            waits_for=IS_YOUNG if is_young else "",
        )

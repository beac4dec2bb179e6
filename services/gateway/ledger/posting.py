"""What is to be booked of a payment: what is true of it now, less what was booked. Pure.

A fact is booked for each thing that changed, in an order of their own: charges, disputes, refunds, movements. So the
accounts come to the same whatever was seen first, or together. Of a payment in which no money moved nothing is booked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.gateway.disputes.domain import Dispute, Standing
from services.gateway.intents.domain import Intent
from services.gateway.ledger.balances import Known, Sums, balances
from services.gateway.ledger.books import Books, Mark
from services.gateway.ledger.domain import Fact
from services.gateway.refunds.domain import ON_ITS_WAY, Refund, RefundState
from services.gateway.settlement.domain import NOT_AT_STRIPE, Movement, MovementKind, MovementState

_MOVED: Final = {
    MovementKind.TRANSFER: "transfer",
    MovementKind.REVERSAL: "reversal",
    MovementKind.FEE: "application_fee",
    MovementKind.FEE_REFUND: "fee_refund",
    MovementKind.WRITE_OFF: "written_off",
    MovementKind.NETTING_OUT: "netted",
    MovementKind.NETTING_IN: "netted",
}
_ADJUSTED: Final = "adjusted"
"""The rules by which a payment was booked came to something else before: what was booked of it is corrected."""
_REALLOCATED: Final = "reallocated"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One thing becomes what it is now, or comes one step nearer."""

    mark: Mark
    label: str
    stripe_id: str
    actor_id: str = ""
    value_time: datetime | None = None


def post(books: Books, known: Known, *, payment_id: str, counting: int) -> tuple[Books, tuple[Fact, ...]]:
    """Return what is booked then, and the facts that are to be booked for that.

    `counting` is the attempt that counts: what others took is surplus.
    """
    steps = list(_steps(books, known, counting))
    if not steps:
        return books, ()
    facts: list[Fact] = []
    marks, before = dict(books.marks), Sums(books.sums)
    # What was booked by other rules, of a release before this one, is put right apart from what has changed.
    as_booked = replace(known, movements=_as_booked(books, known))
    by_rules = balances(as_booked, marks)
    if by_rules.less(before).entries():
        adjusted = Mark(of=_ADJUSTED)
        steps.insert(0, _Step(mark=marks.get(_ADJUSTED, adjusted), label=_ADJUSTED, stripe_id=payment_id))
    for step in steps:
        earlier = marks[step.mark.of].labels if step.mark.of in marks else ()
        marks[step.mark.of] = replace(step.mark, labels=earlier)
        if step.mark.of in known.movements:
            moved = {**as_booked.movements, step.mark.of: known.movements[step.mark.of]}
            as_booked = replace(as_booked, movements=moved)
        after = balances(as_booked, marks)
        entries = after.less(before).entries()
        if entries:
            kind, *more = step.label.split(":")
            times = earlier.count(step.label) + 1
            name = (kind, step.stripe_id, *more, *([str(times)] if times > 1 else []))
            marks[step.mark.of] = replace(step.mark, labels=(*earlier, step.label))
            facts.append(
                Fact(
                    fact=":".join(name),
                    entries=entries,
                    payment_id=payment_id,
                    stripe_id="" if step.label == _ADJUSTED else step.stripe_id,
                    actor_id=step.actor_id,
                    value_time=step.value_time,
                )
            )
        before = after
    return replace(books, marks=marks, sums=before.entries()), tuple(facts)


def _steps(books: Books, known: Known, counting: int) -> Iterator[_Step]:
    for _, intent in sorted(known.intents.items()):
        yield from _charge(books, intent, counting)
    for _, intent in sorted(known.intents.items()):
        for dispute in intent.disputes:
            yield from _dispute(books, dispute)
    for refund in sorted(known.refunds.values(), key=lambda one: (one.create_time, one.refund_id)):
        yield from _refund(books, refund)
    for movement in sorted(known.movements.values(), key=lambda one: (one.create_time, one.movement_id)):
        yield from _movement(books, movement, known.currency_code)


def _as_booked(books: Books, known: Known) -> dict[str, Movement]:
    """Return the movements with what they came to at Stripe when they were booked: seen since, it may be another."""
    found = dict(known.movements)
    for movement_id, one in known.movements.items():
        mark = books.marks.get(movement_id)
        if mark is not None and mark.minor:
            amount, _, currency_code = mark.shown.partition(" ")
            found[movement_id] = replace(
                one,
                charge_minor=mark.minor,
                amount_minor=int(amount) if amount else mark.minor,
                currency_code=currency_code or known.currency_code,
            )
    return found


def _booked(books: Books, of: str) -> Mark:
    """Return a mark as it was booked, without its labels."""
    return replace(books.marks[of], labels=()) if of in books.marks else Mark(of=of)


def _charge(books: Books, intent: Intent, counting: int) -> Iterator[_Step]:
    before = _booked(books, f"charge:{intent.attempt}")
    now = Mark(
        of=before.of,
        minor=intent.captured_minor,
        parts=intent.captured_parts if intent.captured_minor else (),
        is_surplus=bool(intent.captured_minor) and intent.attempt != counting,
    )
    if now != before:
        label = "recounted" if now.minor == before.minor else f"captured:{now.minor}"
        yield _Step(mark=now, label=label, stripe_id=intent.charge_id or intent.intent_id)


def _dispute(books: Books, dispute: Dispute) -> Iterator[_Step]:
    """Take a dispute from where it was to where it is by way of being open: each of its facts comes, late or not."""
    before = _booked(books, dispute.dispute_id)
    minor, is_lost = dispute.withdrawn_minor, dispute.standing_of_money is Standing.LOST
    now = Mark(of=before.of, minor=minor, is_lost=is_lost, parts=dispute.parts if minor else ())
    if now == before:
        return
    if before.is_lost and not is_lost and minor:
        yield _Step(mark=replace(before, is_lost=False), label="reopened", stripe_id=dispute.dispute_id)
    if (now.minor, now.parts) != (before.minor, before.parts):
        mark = replace(now, is_lost=before.is_lost and is_lost)
        label, moved_time = _REALLOCATED, None
        if now.minor != before.minor:
            label = "withdrawn" if now.minor > before.minor else "reinstated"
            moved_time = max((one.create_time for one in dispute.withdrawals), default=None)
        yield _Step(mark=mark, label=label, stripe_id=dispute.dispute_id, value_time=moved_time)
    if is_lost and not before.is_lost:
        yield _Step(mark=now, label="lost", stripe_id=dispute.dispute_id)


def _refund(books: Books, refund: Refund) -> Iterator[_Step]:
    """A refund that Stripe does not know yet is reserved, and has moved nothing."""
    before = _booked(books, refund.refund_id)
    is_out = refund.state in ON_ITS_WAY and bool(refund.stripe_refund_id)
    now = Mark(of=before.of, minor=refund.amount_minor if is_out else 0, parts=refund.parts if is_out else ())
    if now.minor != before.minor:
        failed = "refund_canceled" if refund.state is RefundState.CANCELED else "refund_failed"
        yield _Step(
            mark=now,
            label="refunded" if is_out else failed,
            stripe_id=refund.stripe_refund_id,
            actor_id=refund.actor_id,
            value_time=refund.create_time if is_out else refund.fail_time,
        )
    elif now.parts != before.parts:
        yield _Step(mark=now, label=_REALLOCATED, stripe_id=refund.stripe_refund_id)


def _movement(books: Books, movement: Movement, currency_code: str) -> Iterator[_Step]:
    before = _booked(books, movement.movement_id)
    is_made = movement.state is MovementState.MADE and (bool(movement.stripe_id) or movement.kind in NOT_AT_STRIPE)
    abroad = f"{movement.amount_minor} {movement.currency_code}" if movement.currency_code != currency_code else ""
    now = Mark(of=before.of, minor=movement.charge_minor if is_made else 0, shown=abroad if is_made else "")
    if now != before:
        yield _Step(
            mark=now,
            label="undone" if now.minor < before.minor else _MOVED[movement.kind],
            stripe_id=movement.stripe_id or movement.movement_id,
            actor_id=movement.actor_id,
            value_time=movement.create_time if is_made else None,
        )

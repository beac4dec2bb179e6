"""Where the gateway's own records of a payment disagree. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from typing import Final

from services.gateway.diagnosis import checks
from services.gateway.diagnosis.records import Due, Records
from services.gateway.ledger.balances import Known, Sums
from services.gateway.ledger.domain import Entry
from services.gateway.ledger.posting import post
from services.gateway.reconciliation.domain import SETTLED_WITHIN
from services.gateway.refunds.domain import ON_ITS_WAY
from services.gateway.settlement.domain import Movement
from services.shared.diagnosis import Check, Disagreement, Keeper, Saying, differ, money, said

OF_THE_SAVING: Final = frozenset({"mirror_version", "observe_time"})
"""What an observation gets when it is kept."""
IS_MOVED: Final = "Somebody moves the payment right now."


def disagreements(records: Records, *, now: datetime) -> tuple[Disagreement, ...]:
    """Return where the records disagree; while somebody moves the payment each may be a moment between two."""
    found = [one for compare in _COMPARE for one in compare(records, now)]
    return tuple(replace(one, waits_for=IS_MOVED) for one in found) if records.is_held else tuple(found)


def _observation(records: Records, _: datetime) -> Iterator[Disagreement]:
    """Conclude anew from what is mirrored: what was told is to say the same."""
    again = records.payment.copy()
    again.conclude()
    told = dict(_flat(records.payment.observation))
    follows = dict(_flat(again.observation))
    for name in dict.fromkeys((*told, *follows)):
        one, other = told.get(name), follows.get(name)
        if one != other and name not in OF_THE_SAVING:
            sayings = (Saying(Keeper.MIRROR, f"told {said(one)}"), Saying(Keeper.MIRROR, f"follows {said(other)}"))
            yield Disagreement(check=checks.OBSERVATION, about=name, sayings=sayings)


def _flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Return the fields of a value, and of the values in it, each under the path to it."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _flat(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, tuple):
        for place, one in enumerate(value):
            yield from _flat(one, f"{name}.{place}")
    else:
        yield name, value


def _stripe_ids(records: Records, _: datetime) -> Iterator[Disagreement]:
    found_by = {attempt: ids for attempt, *ids in records.found_by}
    for attempt, intent in records.payment.intents.items():
        mirrored = [intent.intent_id, intent.charge_id, intent.session_id]
        yield from _found(f"attempt {attempt}", found_by.get(attempt, []), mirrored)
    by_movement = dict(records.movements_found_by)
    for movement_id, movement in records.payment.movements.items():
        yield from _found(movement_id, [by_movement.get(movement_id, "")], [movement.stripe_id])


def _found(about: str, found_by: Iterable[str], mirrored: Iterable[str]) -> Iterator[Disagreement]:
    by, has = [one or "none" for one in found_by], [one or "none" for one in mirrored]
    if by != has:
        yield Disagreement(
            check=checks.STRIPE_IDS,
            about=about,
            sayings=(
                Saying(Keeper.MIRROR, f"found by {', '.join(by)}"),
                Saying(Keeper.MIRROR, f"has {', '.join(has)}"),
            ),
        )


def _refunded(records: Records, _: datetime) -> Iterator[Disagreement]:
    payment = records.payment
    for attempt, intent in payment.intents.items():
        back_minor = sum(
            one.amount_minor
            for one in payment.refunds.values()
            if one.attempt == attempt and one.state in ON_ITS_WAY and one.stripe_refund_id
        )
        if back_minor > intent.captured_minor:
            yield Disagreement(
                check=checks.REFUNDED_BEYOND,
                about=f"attempt {attempt}",
                sayings=(
                    Saying(Keeper.MIRROR, f"took {money(intent.captured_minor, payment.currency_code)}"),
                    Saying(Keeper.MIRROR, f"gives back {money(back_minor, payment.currency_code)}"),
                ),
            )


def _unbalanced(records: Records, _: datetime) -> Iterator[Disagreement]:
    for fact, currency_code, minor in records.unbalanced:
        said = Saying(Keeper.LEDGER, f"its entries come to {money(minor, currency_code)}")
        yield Disagreement(check=checks.LEDGER_UNBALANCED, about=fact, sayings=(said,))


def _books(records: Records, _: datetime) -> Iterator[Disagreement]:
    """Compare what the entries come to with what the payment keeps beside it, without what was booked elsewhere."""
    kept = records.payment.books
    remembered = {one.place: one for one in Sums(kept.sums).less(Sums(kept.carried)).entries()}
    booked = {one.place: one for one in records.entries}
    for place in sorted({*remembered, *booked}):
        yield from differ(
            checks.LEDGER_BOOKS,
            (Keeper.LEDGER, _sum(booked.get(place))),
            (Keeper.MIRROR, _sum(remembered.get(place))),
            about=place.name,
        )


def _sum(entry: Entry | None) -> str | None:
    if entry is None:
        return None
    vat = f", VAT {entry.vat_minor}" if entry.vat_minor else ""
    return money(entry.amount_minor, entry.place.currency_code) + vat


def _posted(records: Records, _: datetime) -> Iterator[Disagreement]:
    """Return what would be booked if the payment were saved now: nothing, where all is booked."""
    payment = records.payment
    known = Known(
        currency_code=payment.currency_code,
        intents=payment.intents,
        refunds=payment.refunds,
        movements=payment.movements,
    )
    facts = post(payment.books, known, payment_id=payment.payment_id, counting=payment.observation.attempt)[1]
    for fact in facts:
        entries = ", ".join(
            f"{one.place.name} {money(one.amount_minor, one.place.currency_code)}" for one in fact.entries
        )
        yield Disagreement(
            check=checks.LEDGER_MIRROR,
            about=fact.fact,
            sayings=(Saying(Keeper.MIRROR, f"is to be booked: {entries}"), Saying(Keeper.LEDGER, "nothing")),
        )


def _transactions(records: Records, _: datetime) -> Iterator[Disagreement]:
    for one in records.transactions:
        yield from differ(
            checks.BALANCE_TRANSACTION,
            (Keeper.STRIPE, money(one.net_minor, one.currency_code)),
            (Keeper.LEDGER, money(one.booked_minor, one.currency_code)),
            about=one.balance_transaction_id,
        )


def _settlement(records: Records, now: datetime) -> Iterator[Disagreement]:
    """Look for a seller without its part: nothing is due, or it is due for long and waits for nothing."""
    payment, row = records.payment, records.settlement
    if payment.missing is None:
        return
    is_due = row is not None and row.is_due
    late = row is not None and row.create_time < now - SETTLED_WITHIN
    moves = {(one.attempt, one.seller_id) for one in payment.steps(now) if isinstance(one, Movement)}
    for step in payment.steps(None, only_made=True):
        position = next(one for one in payment.positions(step.attempt) if one.seller_id == step.seller_id)
        if not position.due_minor or (is_due and not (late and (step.attempt, step.seller_id) in moves)):
            continue
        problem = f" ({row.problem})" if row is not None and row.problem else ""
        yield Disagreement(
            check=checks.SETTLEMENT_LATE if is_due else checks.SETTLEMENT,
            about=step.seller_id,
            sayings=(
                Saying(Keeper.MIRROR, f"is to have {money(position.target_minor, payment.currency_code)}"),
                Saying(Keeper.MIRROR, f"has {money(position.moved_minor, payment.currency_code)}{problem}"),
            ),
        )


def _receivables(records: Records, _: datetime) -> Iterator[Disagreement]:
    payment = records.payment
    follows = {(one.attempt, one.seller_id): one.amount_minor for one in payment.receivables}
    listed = {(attempt, seller_id): minor for attempt, seller_id, minor in records.receivables}
    for key in sorted({*follows, *listed}):
        sides = [None if key not in one else money(one[key], payment.currency_code) for one in (listed, follows)]
        follow = f"follows {sides[1] or 'nothing'}"
        if sides[0] != sides[1]:
            yield Disagreement(
                check=checks.RECEIVABLE,
                about=key[1],
                sayings=(Saying(Keeper.MIRROR, f"listed {sides[0] or 'nothing'}"), Saying(Keeper.MIRROR, follow)),
            )


def _calls(records: Records, _: datetime) -> Iterator[Disagreement]:
    for one in records.calls:
        if not one.is_due:
            yield _abandoned(checks.CALL, f"{one.operation} {one.request_id}", one, "has no answer")


def _delivery(records: Records, _: datetime) -> Iterator[Disagreement]:
    one = records.delivery
    if one is not None and one.is_open and not one.is_due:
        what = f"version {one.wanted_version} is not delivered, {one.delivered_version} is"
        yield _abandoned(checks.DELIVERY, "", one, what)


def _abandoned(check: Check, about: str, row: Due, what: str) -> Disagreement:
    state = "it was given up" if row.is_dead else "nothing is due"
    problem = f": {row.problem}" if row.problem else ""
    return Disagreement(check=check, about=about, sayings=(Saying(Keeper.MIRROR, f"{what}; {state}{problem}"),))


_COMPARE: Final[tuple[Callable[[Records, datetime], Iterable[Disagreement]], ...]] = (
    _observation,
    _stripe_ids,
    _refunded,
    _unbalanced,
    _books,
    _posted,
    _transactions,
    _settlement,
    _receivables,
    _calls,
    _delivery,
)

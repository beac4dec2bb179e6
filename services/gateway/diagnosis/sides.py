"""What mirror, ledger and Stripe say of a payment, figure by figure. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from services.gateway.diagnosis.records import AtStripe, Records
from services.gateway.ledger.domain import Account
from services.shared.diagnosis import Figure, Keeper, Side, money


def sides(records: Records, stripe: AtStripe | None) -> tuple[Side, ...]:
    """Return mirror and ledger, and Stripe where it was asked."""
    found = (
        Side(keeper=Keeper.MIRROR, figures=tuple(_mirror(records))),
        Side(keeper=Keeper.LEDGER, figures=tuple(_ledger(records))),
    )
    if stripe is None:
        return found
    figures = () if stripe.problem else tuple(_stripe(records, stripe))
    return (*found, Side(keeper=Keeper.STRIPE, figures=figures, problem=stripe.problem))


def _mirror(records: Records) -> Iterator[Figure]:
    payment, told = records.payment, records.payment.observation
    counting = payment.intents.get(told.attempt)
    yield Figure(name="intent", text=told.intent_state)
    if counting is not None:
        yield _amount(records, "total", counting.amount_minor)
    yield _amount(records, "captured", told.amounts.captured_minor)
    yield _amount(records, "held", told.amounts.capturable_minor)
    yield _amount(records, "given back", told.amounts.refunded_minor + told.amounts.refund_pending_minor)
    yield _amount(records, "contested", told.amounts.disputed_open_minor + told.amounts.disputed_lost_minor)
    if told.amounts.surplus_minor:
        yield _amount(records, "surplus", told.amounts.surplus_minor)
    if told.attempt:
        for position in payment.positions(told.attempt):
            yield _amount(records, f"{position.seller_id} owed", position.owed_minor)
            yield _amount(records, f"{position.seller_id} has", position.moved_minor)
            yield _amount(records, f"{position.seller_id} to get", position.due_minor)
    yield Figure(name="attempt", text=str(told.attempt))
    yield Figure(name="version", text=str(told.mirror_version))
    yield Figure(name="payer", text=payment.payer_id)
    for attempt, intent in sorted(payment.intents.items()):
        yield Figure(name=f"attempt {attempt}", text=f"{intent.state} {intent.intent_id or intent.session_id}".strip())
        if intent.charge_id:
            yield Figure(name=f"charge {attempt}", text=intent.charge_id)
    for number, refund in enumerate(payment.refunds.values(), start=1):
        amount = money(refund.amount_minor, payment.currency_code)
        yield Figure(name=f"refund {number}", text=f"{amount} {refund.state} {refund.stripe_refund_id}".strip())
    if records.settlement is not None:
        yield Figure(name="settlement", text=records.settlement.missing)


def _ledger(records: Records) -> Iterator[Figure]:
    """Yield what the facts of the payment come to; they are booked as money moves, and not before."""
    marks = records.payment.books.marks
    booked = {entry.place: entry.amount_minor for entry in records.entries}
    charges = sum(mark.minor for of, mark in marks.items() if of == f"charge:{records.payment.observation.attempt}")
    refunds = sum(
        marks[one.refund_id].minor
        for one in records.payment.refunds.values()
        if one.refund_id in marks and one.attempt == records.payment.observation.attempt
    )
    yield _amount(records, "captured", charges)
    yield _amount(records, "given back", refunds)
    currency_code = records.payment.currency_code
    for place in sorted(booked):
        if place.account is Account.SELLER and place.currency_code == currency_code:
            yield _amount(records, f"{place.seller_id} to get", -booked[place])
    for account in (Account.STRIPE_CLEARING, Account.STRIPE_BALANCE):
        if minor := records.balance_minor(account, currency_code):
            yield _amount(records, account.replace("_", " "), minor)


def _stripe(records: Records, stripe: AtStripe) -> Iterator[Figure]:
    told = records.payment.observation
    counting = next((one for one in stripe.attempts if one.attempt == told.attempt), None)
    if counting is not None and counting.is_there:
        yield Figure(name="intent", text=counting.state)
        if counting.amount:
            minor, _, currency_code = counting.amount.partition(" ")
            yield Figure(name="total", amount_minor=int(minor), currency_code=currency_code)
        yield _amount(records, "captured", counting.captured_minor)
        yield _amount(records, "held", counting.capturable_minor)
        yield _amount(records, "given back", stripe.refunded_minor)
    for one in stripe.attempts:
        said = f"{one.state} {one.stripe_id}" if one.is_there else f"{one.stripe_id} is not there"
        yield Figure(name=f"attempt {one.attempt}", text=said)


def _amount(records: Records, name: str, minor: int) -> Figure:
    return Figure(name=name, amount_minor=minor, currency_code=records.payment.currency_code)

"""What is taken over, and the payment that is mirrored of it. Pure.

A payment comes as settled history. Nothing of it is booked, since the system before booked it: what it comes to is
`carried`, and what happens from now on is booked as a difference to that. So a payment is refused of which a seller has
not what it is to have: the settlement would move that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.gateway.disputes.domain import Dispute
from services.gateway.errors import MovementMissing, RecordNotSettled
from services.gateway.intents.domain import Intent
from services.gateway.ledger.balances import Known
from services.gateway.ledger.books import NOTHING, Books
from services.gateway.ledger.domain import Account, Entry, Fact, Place
from services.gateway.ledger.posting import post
from services.gateway.mirror.observation import next_version
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import Refund
from services.gateway.settlement.domain import MovementKind
from services.gateway.settlement.moves import is_seen
from services.gateway.settlement.seen import MovedFacts, seen
from services.shared.amounts import written

ATTEMPT: Final = 1
"""What is taken over is one attempt: the one that counted."""


class RecordKind(StrEnum):
    """What a record is of."""

    PAYMENT = "PAYMENT"
    CUSTOMER = "CUSTOMER"
    SELLER = "SELLER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What moved at Stripe to or from a seller, with what went back on it."""

    seller_id: str
    facts: MovedFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRecord:
    """A payment that is over."""

    payment_id: str
    payer_id: str
    currency_code: str
    intent: Intent | None
    """As it is, without its disputes; None of one that never came to an intent."""
    seller_ids: tuple[str, ...]
    """The sellers with a line in it, without the platform."""
    capture_time: datetime | None = None
    moved: tuple[Moved, ...] = ()
    refunds: tuple[Refund, ...] = ()
    """Without what falls to each line."""
    disputes: tuple[Dispute, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """That a payer agreed to have a method kept for later charges."""

    payment_method_id: str
    actor_id: str
    consent_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRecord:
    """Who a payer is at Stripe."""

    payer_id: str
    customer_id: str
    default_method_id: str
    consents: tuple[Consent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerRecord:
    """A seller's account at Stripe."""

    seller_id: str
    stripe_account_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """A payment as it is kept."""

    payment: MirroredPayment
    books: Books
    opening: tuple[Fact, ...]
    """What is booked of it."""


def mirrored(record: PaymentRecord, intent: Intent, *, tenant_id: str, read_since: datetime, now: datetime) -> Mirrored:
    """Return a payment as the mirror is to have it. `read_since` is since when balance transactions are read here.

    Raises MovementMissing and RecordNotSettled.
    """
    payment = _mirror(record, intent, tenant_id=tenant_id)
    if intent.is_destination and not is_seen(intent, list(payment.movements.values())):
        lacks_transfer = payment.lacks_movements(ATTEMPT)
        raise MovementMissing(field=f"charge.{'transfers' if lacks_transfer else 'application_fees'}")
    if payment.missing is not None or payment.receivables:
        raise RecordNotSettled(field="charge", detail=_unsettled(payment))
    payment.observation = replace(
        payment.observation, mirror_version=next_version(payment.saved_version, now), observe_time=now
    )
    known = Known(
        currency_code=payment.currency_code,
        intents=payment.intents,
        refunds=payment.refunds,
        movements=payment.movements,
    )
    books, facts = post(NOTHING, known, payment_id=payment.payment_id, counting=ATTEMPT)
    opening = tuple(_opening(record, facts, since=read_since))
    return Mirrored(payment=payment, books=replace(books, carried=books.sums), opening=opening)


def _mirror(record: PaymentRecord, intent: Intent, *, tenant_id: str) -> MirroredPayment:
    payment = MirroredPayment.new(
        tenant_id,
        record.payment_id,
        payer_id=record.payer_id,
        seller_id=intent.seller_id,
        currency_code=record.currency_code,
    )
    payment.intents[ATTEMPT] = intent
    for one in record.moved:  # all in the payment's currency
        moved = _with_refunds(one.facts, record.refunds)
        payment.movements = seen(
            payment.movements, moved, attempt=ATTEMPT, seller_id=one.seller_id, charge_minor=moved.amount_minor
        )
    if record.disputes:
        payment.apply_disputes(ATTEMPT, record.disputes)
    for refund in record.refunds:
        payment.refunds[refund.refund_id] = refund
    payment.conclude()
    return payment


def _with_refunds(moved: MovedFacts, refunds: tuple[Refund, ...]) -> MovedFacts:
    """Return a transfer whose reversals say with which refund each came, where none was said: the newest before it.

    What came with no refund was made by hand, and is left so: it is not sent again.
    """
    if moved.kind is not MovementKind.TRANSFER or not refunds:
        return moved
    return replace(
        moved,
        back=tuple(
            one if one.stripe_refund_id else replace(one, stripe_refund_id=_newest_before(one.create_time, refunds))
            for one in moved.back
        ),
    )


def _newest_before(time: datetime, refunds: tuple[Refund, ...]) -> str:
    """Return the refund that was made last then; Stripe counts whole seconds."""
    made = [one for one in refunds if one.create_time.replace(microsecond=0) <= time]
    return made[-1].stripe_refund_id if made else ""


def _unsettled(payment: MirroredPayment) -> str:
    """Say which sellers have not what they are to have."""
    return " ".join(
        f"{one.seller_id} has {written(one.moved_minor, payment.currency_code)},"
        f" and is to have {written(one.target_minor, payment.currency_code)}."
        for one in payment.positions(ATTEMPT)
        if one.due_minor
    )


def _opening(record: PaymentRecord, facts: tuple[Fact, ...], *, since: datetime) -> Iterator[Fact]:
    """Yield what stands against the balance transactions that are read here: of each object at Stripe one fact.

    What came to be before `since` has none here, and is not in clearing. Stripe counts whole seconds.
    """
    found: dict[tuple[str, str], int] = {}
    times: dict[str, datetime] = {}
    for fact in facts:
        time = fact.value_time or record.capture_time
        if time is None or time < since.replace(microsecond=0):
            continue
        for entry in fact.entries:
            if entry.place.account is Account.STRIPE_CLEARING:
                key = (fact.stripe_id, entry.place.currency_code)
                found[key] = found.get(key, 0) + entry.amount_minor
                times[fact.stripe_id] = time
    for (stripe_id, currency_code), minor in found.items():
        if minor:
            yield Fact(
                fact=f"opening:{stripe_id}",
                entries=(
                    Entry(place=_place(Account.STRIPE_CLEARING, currency_code), amount_minor=minor),
                    Entry(place=_place(Account.OPENING, currency_code), amount_minor=-minor),
                ),
                payment_id=record.payment_id,
                stripe_id=stripe_id,
                value_time=times[stripe_id],
            )


def _place(account: Account, currency_code: str) -> Place:
    return Place(account=account, currency_code=currency_code)

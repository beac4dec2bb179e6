"""What a balance transaction of Stripe's says, and to which accounts of the ledger it is booked. Pure.

A balance transaction says that the platform's balance has changed, of what, and what Stripe took for it. What it is of
was booked against `stripe_clearing` when it was first seen; so one of a known object clears that, and what nobody knew
of stands there in the open. One whose type no rule knows is booked as unclassified: always a finding, never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.gateway.ledger.domain import Account, Entry, Fact, Place

DISPUTE_PREFIX: Final = ("dp_", "du_")
"""Of Stripe's ids of disputes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeDetail:
    """One part of what Stripe took, in the currency of its balance transaction."""

    type: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceTransaction:
    """One change of the platform's balance, in ISO minor units of `currency_code`."""

    balance_transaction_id: str
    type: str
    reporting_category: str
    amount_minor: int
    """Below 0 where the balance gets less."""
    fee_minor: int
    """What Stripe took for it; below 0 where it gave that back."""
    net_minor: int
    """What the balance changed by: amount − fee."""
    currency_code: str
    source_id: str
    """What it is of; empty where it is of nothing."""
    related_ids: tuple[str, ...] = ()
    """What that belongs to: the charge of a refund, the transfer of a reversal. The payment is found by them, too."""
    own_amount_minor: int | None = None
    """The amount in the currency of its source, where that is another one; signed as `amount_minor`."""
    own_currency_code: str = ""
    exchange_rate: str = ""
    fees: tuple[FeeDetail, ...] = ()
    create_time: datetime
    available_time: datetime

    @property
    def is_of_dispute(self) -> bool:
        """Whether it is of a dispute."""
        return self.source_id.startswith(DISPUTE_PREFIX)


_CLEARED: Final = (
    "charge",
    "payment",
    "refund",
    "payment_refund",
    "refund_failure",
    "payment_failure_refund",
    "transfer",
    "transfer_refund",
    "transfer_cancel",
    "transfer_failure",
    "application_fee",
    "application_fee_refund",
)
"""What a fact was booked of before, or will be."""

COUNTER: Final[Mapping[str, Account]] = {
    **dict.fromkeys(_CLEARED, Account.STRIPE_CLEARING),
    "payout": Account.BANK,
    "payout_failure": Account.BANK,
    "payout_cancel": Account.BANK,
    "topup": Account.BANK,
    "topup_reversal": Account.BANK,
    "stripe_fee": Account.STRIPE_FEE,
    "tax_fee": Account.STRIPE_FEE,
    "stripe_fx_fee": Account.STRIPE_FEE,
    "reserve_transaction": Account.STRIPE_RESERVED,
    "reserved_funds": Account.STRIPE_RESERVED,
    "connect_collection_transfer": Account.SELLER_LOSS,
}
"""Type → the account that stands against the balance. Stripe takes what sellers owe it from the platform by
`connect_collection_transfer`."""

_PAYOUT_FACTS: Final[Mapping[str, str]] = {
    "payout": "payout",
    "payout_failure": "payout_failed",
    "payout_cancel": "payout_canceled",
}


def counter_of(shown: BalanceTransaction) -> Account:
    """Return the account that stands against the balance."""
    if shown.type == "adjustment" and shown.is_of_dispute:
        return Account.STRIPE_CLEARING
    return COUNTER.get(shown.type, Account.UNCLASSIFIED)


def facts_of(shown: BalanceTransaction, *, payment_id: str) -> tuple[Fact, ...]:
    """Return what is booked of a balance transaction, each fact once by its name; nothing where no money moved.

    A payout goes through `stripe_clearing`, as all that leaves the balance does.
    """
    counter = counter_of(shown)
    booked = [_fact(f"bt:{shown.balance_transaction_id}", _sides(shown, counter), shown, payment_id=payment_id)]
    if counter is Account.BANK:
        name = f"{_PAYOUT_FACTS.get(shown.type, shown.type)}:{shown.source_id or shown.balance_transaction_id}"
        booked.append(_fact(name, _at_bank(shown), shown, payment_id=payment_id))
    return tuple(fact for fact in booked if fact is not None)


_Side = tuple[Account, str, int]
"""Account, currency, amount."""


def _fact(name: str, sides: Iterator[_Side], shown: BalanceTransaction, *, payment_id: str) -> Fact | None:
    entries = tuple(
        Entry(place=Place(account=account, currency_code=currency_code), amount_minor=minor)
        for account, currency_code, minor in sides
        if minor
    )
    if not entries:
        return None
    return Fact(
        fact=name,
        entries=entries,
        payment_id=payment_id,
        stripe_id=shown.source_id or shown.balance_transaction_id,
        value_time=shown.available_time,
    )


def _sides(shown: BalanceTransaction, counter: Account) -> Iterator[_Side]:
    here, own = shown.currency_code, shown.own_currency_code
    against = Account.STRIPE_CLEARING if counter is Account.BANK else counter
    yield Account.STRIPE_BALANCE, here, shown.net_minor
    if against is Account.STRIPE_FEE:  # all of it is a fee
        yield against, here, shown.fee_minor - shown.amount_minor
        return
    yield Account.DISPUTE_FEE if shown.is_of_dispute else Account.STRIPE_FEE, here, shown.fee_minor
    if shown.own_amount_minor is None or against is not Account.STRIPE_CLEARING:
        yield against, here, -shown.amount_minor
        return
    yield Account.CONVERSION, here, -shown.amount_minor
    yield against, own, -shown.own_amount_minor
    yield Account.CONVERSION, own, shown.own_amount_minor


def _at_bank(shown: BalanceTransaction) -> Iterator[_Side]:
    yield Account.BANK, shown.currency_code, -shown.amount_minor
    yield Account.STRIPE_CLEARING, shown.currency_code, shown.amount_minor

"""The accounts, and what is booked on them: facts, each of them balanced in each currency. Pure.

Debit is above zero, credit below. A fact names what happened once, such as `captured:ch_1:10000`; it is never changed,
and a correction is another fact that names the one it corrects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class AccountKind(StrEnum):
    """What an account's balance says."""

    ASSET = "asset"
    LIABILITY = "liability"
    INCOME = "income"
    EXPENSE = "expense"
    TECHNICAL = "technical"


class Account(StrEnum):
    """The accounts, per tenant and currency."""

    STRIPE_CLEARING = "stripe_clearing"
    """Seen at Stripe, and no balance transaction of it is booked yet, or the reverse; 0 when everything has arrived."""
    STRIPE_BALANCE = "stripe_balance"
    """The platform's balance at Stripe: exactly what the booked balance transactions come to."""
    STRIPE_RESERVED = "stripe_reserved"
    """What Stripe keeps back of the platform's balance for a time."""
    BANK = "bank"
    """Paid out."""
    SELLER = "seller"
    """What a seller is owed; above zero it owes us."""
    SELLER_HELD = "seller_held"
    """What a seller is not to have while disputes are open."""
    PAYER_SURPLUS = "payer_surplus"
    """Taken beyond what a payment charges."""
    VAT_PAYABLE = "vat_payable"
    """VAT that the platform owes to a country: on its fee, and on lines where it is liable."""
    DISPUTE_WITHHELD = "dispute_withheld"
    """Withdrawn by disputes that are open."""
    PLATFORM_FEE = "platform_fee"
    """The platform's fee, without VAT."""
    PLATFORM_SALES = "platform_sales"
    """The platform's own goods, without VAT."""
    SURCHARGES = "surcharges"
    """What the platform's surcharges put on."""
    DISCOUNTS_FUNDED = "discounts_funded"
    """What the platform added for its own discounts."""
    REFUND_BORNE = "refund_borne"
    """Refunded at the platform's cost alone."""
    STRIPE_FEE = "stripe_fee"
    """What Stripe takes."""
    DISPUTE_FEE = "dispute_fee"
    """What Stripe takes for disputes."""
    DISPUTE_LOSS = "dispute_loss"
    """Lost by disputes at the platform's cost."""
    SELLER_LOSS = "seller_loss"
    """What sellers owed and was written off."""
    FX_DIFFERENCE = "fx_difference"
    """What is left of a chain of exchanges once it is closed."""
    ROUNDING = "rounding"
    """What rounding left, and what rounding to cash put on or took off."""
    CONVERSION = "conversion"
    """The two sides of a change of currency."""
    NETTING = "netting"
    """What was kept back of one payment for what a seller owes of another; 0 in all."""
    OPENING = "opening"
    """What an older system moved while the balance was read here already: against it stands what it booked itself."""
    UNCLASSIFIED = "unclassified"
    """What no rule books; 0 in a clean month, and always a finding."""


KINDS: Final[Mapping[Account, AccountKind]] = {
    Account.STRIPE_CLEARING: AccountKind.ASSET,
    Account.STRIPE_BALANCE: AccountKind.ASSET,
    Account.STRIPE_RESERVED: AccountKind.ASSET,
    Account.BANK: AccountKind.ASSET,
    Account.SELLER: AccountKind.LIABILITY,
    Account.SELLER_HELD: AccountKind.LIABILITY,
    Account.PAYER_SURPLUS: AccountKind.LIABILITY,
    Account.VAT_PAYABLE: AccountKind.LIABILITY,
    Account.DISPUTE_WITHHELD: AccountKind.ASSET,
    Account.PLATFORM_FEE: AccountKind.INCOME,
    Account.PLATFORM_SALES: AccountKind.INCOME,
    Account.SURCHARGES: AccountKind.INCOME,
    Account.DISCOUNTS_FUNDED: AccountKind.EXPENSE,
    Account.REFUND_BORNE: AccountKind.EXPENSE,
    Account.STRIPE_FEE: AccountKind.EXPENSE,
    Account.DISPUTE_FEE: AccountKind.EXPENSE,
    Account.DISPUTE_LOSS: AccountKind.EXPENSE,
    Account.SELLER_LOSS: AccountKind.EXPENSE,
    Account.FX_DIFFERENCE: AccountKind.EXPENSE,
    Account.ROUNDING: AccountKind.EXPENSE,
    Account.CONVERSION: AccountKind.TECHNICAL,
    Account.NETTING: AccountKind.TECHNICAL,
    Account.OPENING: AccountKind.TECHNICAL,
    Account.UNCLASSIFIED: AccountKind.TECHNICAL,
}

FACT_KINDS: Final[Mapping[str, str]] = {
    "captured": "what a charge took so far",
    "recounted": "another attempt counts now",
    "withdrawn": "a dispute took its amount",
    "lost": "a dispute was lost",
    "reopened": "a dispute that was lost is open again",
    "reinstated": "a dispute gave back its amount",
    "refunded": "a refund is on its way",
    "refund_failed": "a refund came back from the bank",
    "refund_canceled": "a refund was canceled",
    "reallocated": "what a refund or a dispute took falls to other lines, by what is known since",
    "transfer": "a transfer to a seller",
    "reversal": "a transfer, or a part of it, came back",
    "application_fee": "the fee of a destination charge",
    "fee_refund": "a fee, or a part of it, went back",
    "undone": "a movement was not made after all, or less is written off",
    "adjusted": "what was booked of a payment by other rules is corrected",
    "bt": "a balance transaction of Stripe's is known",
    "payout": "the platform was paid out",
    "payout_failed": "a payout came back",
    "payout_canceled": "a payout was canceled",
    "topup": "money was added to the balance",
    "topup_reversal": "money that was added went back",
    "written_off": "what a seller owes will not be paid",
    "netted": "kept back from what a seller was to get of one payment, and given back with that of another",
    "opening": "a payment was imported, of which the balance transaction of one object is read here",
    "fx_closed": "all of a payment in another currency went back: what the exchange left is a difference",
}
"""The kinds of facts, and what happened: the first part of their names."""

SALES: Final = frozenset(
    {
        "captured", "recounted", "withdrawn", "lost", "reopened", "reinstated", "refunded", "refund_failed",
        "refund_canceled", "reallocated", "adjusted",
    }
)  # fmt: skip
"""Facts of what was sold; the others are about what moves, or about what was not paid."""

OF_SELLERS: Final = frozenset({Account.SELLER, Account.SELLER_HELD})
"""There is one for each seller."""
OF_COUNTRIES: Final = frozenset({Account.VAT_PAYABLE})
"""There is one for each country."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where an amount is booked."""

    account: Account
    currency_code: str
    seller_id: str = ""
    """Whose account it is; on any other account whose sale it is of, empty where it is of none."""
    country: str = ""
    """Whose account it is, of VAT."""

    def __post_init__(self) -> None:
        """Refuse an account without its owner."""
        if self.account in OF_SELLERS and not self.seller_id:
            raise ValueError(f"{self.account} of no seller")
        if (self.account in OF_COUNTRIES) != bool(self.country):
            raise ValueError(f"{self.account} of country {self.country!r}")

    @property
    def name(self) -> str:
        """The account's full name, such as `seller:s1`."""
        return account_name(self.account, seller_id=self.seller_id, country=self.country)


def account_name(account: Account, *, seller_id: str, country: str) -> str:
    """Return an account's full name."""
    if account in OF_SELLERS:
        return f"{account}:{seller_id}"
    return f"{account}:{country}" if account in OF_COUNTRIES else str(account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One side of a fact."""

    place: Place
    amount_minor: int
    """Debit is above zero, credit below."""
    vat_minor: int = 0
    """VAT that goes with it, below zero where it goes back, and no part of any sum: on a seller's entry that in the
    price of what it sold, on the platform's fee that on the fee."""


class Unbalanced(ValueError):
    """The entries of a fact do not come to zero in each currency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What is booked of one thing that happened."""

    fact: str
    """What happened, once: its kind, what it happened to at Stripe, and what tells it from others of both."""
    entries: tuple[Entry, ...]
    payment_id: str = ""
    """Empty where it is of no payment."""
    stripe_id: str = ""
    """The object at Stripe that shows it."""
    actor_id: str = ""
    """Who decided it; empty where it follows from what happened."""
    value_time: datetime | None = None
    """When it counts: when Stripe made or frees it; None for when it is booked."""
    corrects: str = ""
    """The fact that it corrects."""

    def __post_init__(self) -> None:
        """Refuse to exist unbalanced."""
        if not self.fact or not self.entries:
            raise ValueError("a fact without a name, or without entries")
        sums: dict[str, int] = {}
        for one in self.entries:
            sums[one.place.currency_code] = sums.get(one.place.currency_code, 0) + one.amount_minor
        if any(sums.values()):
            raise Unbalanced(f"{self.fact}: {sums}")
        if len({one.place for one in self.entries}) != len(self.entries):
            raise ValueError(f"{self.fact} books a place twice")

    @property
    def kind(self) -> str:
        """What kind of thing happened."""
        return self.fact.partition(":")[0]

"""The records that callers kept of payments before, read from what the suite keeps. Nothing is stored a second time.

`legacy_transactions` makes the old `Transaction` records of a payment out of its ledger entries; `legacy_payment` the
old payment record, out of those, `GetIntent` and `ListRefunds`. Who has old records asks for entries with an operator's
token (`ListLedgerEntries`, by payment). Amounts are minor units beside a currency; the old fields held major units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from batzen.gateway.v1.intents_pb2 import GetIntentResponse
from batzen.gateway.v1.ops_pb2 import LedgerEntry
from batzen.gateway.v1.refunds_pb2 import Refund

_CLEARING: Final = "stripe_clearing"
_DISPUTED: Final = "withdrawn"


class TransactionType(StrEnum):
    """What the old record was of."""

    CHARGE = "charge"
    REFUND = "refund"


_TYPES: Final = {
    "captured": TransactionType.CHARGE,
    "refunded": TransactionType.REFUND,
    "refund_failed": TransactionType.REFUND,
    "refund_canceled": TransactionType.REFUND,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyTransaction:
    """One charge or refund."""

    type: TransactionType
    amount_minor: int
    """Above zero, as the old records had it; below zero a refund that failed. Of a capture in parts it is the part."""
    currency_code: str
    stripe_id: str
    """`ch_…` or `re_…`."""
    time: datetime
    """When it counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyRefund:
    """One refund of the old payment record."""

    refund_id: str
    """Stripe's: the old `refundId`."""
    amount_minor: int
    processed_at: datetime
    processed_by: str
    """Who decided; empty for one that was made in Stripe's dashboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyPayment:
    """The old payment record; an id is empty where there is none."""

    payment_intent_id: str
    setup_intent_id: str
    charge_id: str
    dispute_id: str
    refunds: tuple[LegacyRefund, ...]
    error_retriable: bool | None
    """None where nothing went wrong."""


def legacy_transactions(entries: Iterable[LedgerEntry]) -> list[LegacyTransaction]:
    """Return the charges and refunds among the entries of a payment, in their order."""
    found = []
    for one in entries:
        kind = _TYPES.get(one.fact)
        if kind is not None and one.account == _CLEARING:
            sign = 1 if kind is TransactionType.CHARGE else -1
            found.append(
                LegacyTransaction(
                    type=kind,
                    amount_minor=sign * one.amount.amount_minor,
                    currency_code=one.amount.currency_code,
                    stripe_id=one.stripe_id,
                    time=one.value_time.ToDatetime(UTC),
                )
            )
    return found


def legacy_payment(
    found: GetIntentResponse, *, entries: Sequence[LedgerEntry] = (), refunds: Iterable[Refund] = ()
) -> LegacyPayment:
    """Return the old record of a payment; of several intents, charges and disputes the last."""
    charged = [one.intent_id for one in found.intents if not one.is_setup and one.intent_id]
    set_up = [one.intent_id for one in found.intents if one.is_setup and one.intent_id]
    has_error = found.observation.HasField("last_error")
    return LegacyPayment(
        payment_intent_id=charged[-1] if charged else "",
        setup_intent_id=set_up[-1] if set_up else "",
        charge_id=_last(entries, "captured"),
        dispute_id=_last(entries, _DISPUTED),
        refunds=tuple(
            LegacyRefund(
                refund_id=one.stripe_refund_id,
                amount_minor=one.amount.amount_minor,
                processed_at=one.create_time.ToDatetime(UTC),
                processed_by=one.actor_id,
            )
            for one in refunds
        ),
        error_retriable=found.observation.last_error.recoverable if has_error else None,
    )


def _last(entries: Iterable[LedgerEntry], fact: str) -> str:
    stripe_id = ""
    for one in entries:
        if one.fact == fact:
            stripe_id = one.stripe_id
    return stripe_id

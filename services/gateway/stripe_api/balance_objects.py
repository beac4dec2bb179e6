"""Stripe's balance transactions as plain JSON, read into values of ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from services.gateway.balance.domain import BalanceTransaction, FeeDetail
from services.gateway.disputes.domain import RATE_PRECISION
from services.gateway.stripe_api.currencies import from_stripe
from services.gateway.stripe_api.objects import dispute_in, number, part, parts, reference, text
from services.shared.codec import Json

_BELONGS_TO: Final = ("charge", "transfer", "fee", "payment_intent")
"""Fields of a source by which its payment is found."""


def balance_transaction(shown: Json) -> BalanceTransaction:
    """Read one, with its source expanded where there is one. Raises AmountNotRepresentable for an inexact amount."""
    currency = str(shown["currency"])
    source = part(shown, "source")
    own = _own_amount(shown, source)
    return BalanceTransaction(
        balance_transaction_id=str(shown["id"]),
        type=text(shown, "type"),
        reporting_category=text(shown, "reporting_category"),
        amount_minor=from_stripe(number(shown, "amount"), currency),
        fee_minor=from_stripe(number(shown, "fee"), currency),
        net_minor=from_stripe(number(shown, "net"), currency),
        currency_code=currency.upper(),
        source_id=reference(shown, "source"),
        related_ids=tuple(_related(source)),
        own_amount_minor=own,
        own_currency_code=text(source, "currency").upper() if own is not None else "",
        exchange_rate=text(shown, "exchange_rate"),
        fees=tuple(
            FeeDetail(type=text(one, "type"), amount_minor=from_stripe(number(one, "amount"), currency))
            for one in parts(shown, "fee_details")
        ),
        create_time=datetime.fromtimestamp(number(shown, "created"), UTC),
        available_time=datetime.fromtimestamp(number(shown, "available_on"), UTC),
    )


def _related(source: Json) -> Iterator[str]:
    for name in _BELONGS_TO:
        found = reference(source, name)
        if found:
            yield found


def _own_amount(shown: Json, source: Json) -> int | None:
    """Return the amount in its source's currency, signed; None where that is the same.

    It may be a part of its source: one of several captures, or what came back of a dispute.
    """
    own = text(source, "currency")
    if own in ("", str(shown["currency"])):
        return None
    minor = from_stripe(number(shown, "amount"), str(shown["currency"]))
    if text(source, "object") == "dispute":
        dispute = dispute_in(source, currency_code=own.upper(), captured_minor=0)
        moved = [one for one in dispute.withdrawals if one.balance_transaction_id == str(shown["id"])]
        if moved:  # as the ledger measures it
            return dispute.moved_minor(moved[0])
    is_charge = text(source, "object") == "charge"
    whole = from_stripe(number(source, "amount_captured" if is_charge else "amount"), own)
    own_minor = _captured(abs(minor), whole, text(shown, "exchange_rate")) if is_charge else whole
    return own_minor if minor >= 0 else -own_minor


def _captured(minor: int, whole: int, rate: str) -> int:
    """Return what one capture took of a charge, in its currency: all of it, but for rounding, unless it was another."""
    if not rate or abs(whole * Decimal(rate) - minor) <= 1 + minor * RATE_PRECISION:
        return whole
    return int((minor / Decimal(rate)).to_integral_value(ROUND_HALF_EVEN))

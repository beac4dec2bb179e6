"""Stripe's balance transactions as plain JSON, read into values of ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from services.gateway.balance.domain import BalanceTransaction, FeeDetail
from services.gateway.stripe_api.currencies import from_stripe
from services.gateway.stripe_api.objects import number, part, parts, reference, text
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
    """Return what its source says, signed as the balance transaction; None where that is in the same currency."""
    own = text(source, "currency")
    if own in ("", str(shown["currency"])):
        return None
    name = "amount_captured" if text(source, "object") == "charge" else "amount"
    minor = from_stripe(number(source, name), own)
    return minor if number(shown, "amount") >= 0 else -minor

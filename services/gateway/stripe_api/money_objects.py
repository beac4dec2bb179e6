"""What Stripe shows of money that moved, read into values of ours: ISO minor units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from services.gateway.balance.domain import BalanceTransaction
from services.gateway.disputes.domain import RATE_PRECISION
from services.gateway.settlement.domain import Settled, SettledPart
from services.gateway.stripe_api.balance_objects import balance_transaction
from services.gateway.stripe_api.objects import amount, part, text
from services.shared.codec import Json

_TAKES: Final = frozenset({"charge", "payment"})
"""The types of the balance transactions by which a charge takes money."""


def settled(charge: Json, shown: Sequence[Json] = ()) -> Settled | None:
    """Read what a charge came to on the platform's balance; None while Stripe does not show it.

    Each capture has a balance transaction of its own, and the charge names one of them. So in another currency it says
    what that one took, unless all of them are `shown`: that is less than was captured while one is missing.
    """
    named = part(charge, "balance_transaction")
    if not named:
        return None
    captured_minor, currency_code = amount(charge, "amount_captured"), str(named["currency"]).upper()
    if text(charge, "currency").upper() == currency_code:
        return Settled(charge_minor=captured_minor, amount_minor=captured_minor, currency_code=currency_code)
    rows = [balance_transaction({**row, "source": charge}) for row in shown or (named,)]
    parts = [
        SettledPart(charge_minor=row.own_amount_minor, amount_minor=row.amount_minor, create_time=row.create_time)
        for row in rows
        if row.type in _TAKES and row.own_amount_minor is not None
    ]
    off_minor = captured_minor - sum(one.charge_minor for one in parts)
    if parts and abs(off_minor) <= sum(map(_rounding_minor, rows)):  # all of it, but for rounding
        parts[-1] = replace(parts[-1], charge_minor=parts[-1].charge_minor + off_minor)
    return Settled(
        charge_minor=sum(one.charge_minor for one in parts),
        amount_minor=sum(one.amount_minor for one in parts),
        currency_code=currency_code,
        parts=tuple(parts) if len(parts) > 1 else (),
    )


def _rounding_minor(row: BalanceTransaction) -> Decimal:
    """Return by how much what a capture took may be wrong, in the currency of the charge."""
    return (1 + row.amount_minor * RATE_PRECISION) / Decimal(row.exchange_rate or 1)

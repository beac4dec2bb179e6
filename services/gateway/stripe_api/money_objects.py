"""What Stripe shows of money that moved, read into values of ours: ISO minor units."""

from __future__ import annotations

from services.gateway.settlement.domain import Settled
from services.gateway.stripe_api.currencies import from_stripe
from services.gateway.stripe_api.objects import amount, number, part
from services.shared.codec import Json


def settled(charge: Json) -> Settled | None:
    """Read what a charge came to on the platform's balance; None while Stripe does not show it."""
    row = part(charge, "balance_transaction")
    if not row:
        return None
    return Settled(
        charge_minor=from_stripe(number(charge, "amount_captured"), str(charge["currency"])),
        amount_minor=amount(row, "amount"),
        currency_code=str(row["currency"]).upper(),
    )

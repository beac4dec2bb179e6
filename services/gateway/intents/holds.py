"""How long an amount is held where Stripe does not say so itself. Pure.

A card's charge says it (`capture_before`), and that alone counts. Other methods' charges say nothing, and a charge may
leave it out: then the limits that Stripe documents stand in for it. One that is too short costs a warning too early;
one that is too long would cost the money.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

LIMIT_SHORTEST: Final = timedelta(days=4, hours=18)
"""Of a Visa card that is charged without its holder; the shortest that Stripe documents, and so of whatever is not
named here. Source: docs.stripe.com/payments/place-a-hold-on-a-payment-method, "Authorization validity windows"."""

LIMITS: Final[Mapping[str, timedelta]] = {
    "card": LIMIT_SHORTEST,
    "affirm": timedelta(days=30),
    "afterpay_clearpay": timedelta(days=13),
    "klarna": timedelta(days=28),
}
"""By the method's type, counted from its charge. Source of the three others: the page of each method below
docs.stripe.com/payments, "Manual capture"."""


def limit_of(method_type: str) -> timedelta:
    """Return how long a method of a type holds an amount."""
    return LIMITS.get(method_type, LIMIT_SHORTEST)

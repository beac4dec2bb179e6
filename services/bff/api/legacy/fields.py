"""The fields of the contracts, under the names that they have in the bodies of old clients. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[str, str]] = {
    "amount": "amount",
    "amount.amount_minor": "amount",
    "amount.currency_code": "amount",
    "booking_ids": "bookingId",
    "cancel_url": "cancelUrl",
    "confirmation_token_id": "confirmationTokenId",
    "expected_total": "amountMinor",
    "expected_total.amount_minor": "amountMinor",
    "expected_total.currency_code": "currency",
    "filter.booking_id": "bookingId",
    "keep_method": "savePaymentMethod",
    "lines": "price",
    "lines.seller_id": "coachId",
    "lines.unit_amount": "price.final",
    "lines.unit_amount.amount_minor": "price.final",
    "lines.unit_amount.currency_code": "currency",
    "payer.email": "email",
    "payer.locale": "locale",
    "payer.name": "name",
    "payer.payer_id": "userId",
    "payer_id": "userId",
    "payment_id": "paymentId",
    "payment_method_id": "paymentMethodId",
    "return_url": "returnUrl",
    "session_name": "sessionName",
    "session_type": "sessionType",
    "stripe_id": "paymentIntentId",
}
"""A price of an old client is one line, and a booking the only one, so that a place in a list says nothing."""
_PLACE: Final = re.compile(r"\[\d+\]")


def old_name(path: str) -> str:
    """Return the name of a field in an old body; one that no old body has stays as the contract has it."""
    return NAMES.get(_PLACE.sub("", path), path)

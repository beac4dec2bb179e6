"""What a payer is told of a refused try: a key of the catalogue, by the codes of Stripe and of the bank. Pure.

Codes of cards that are lost, stolen or suspected read exactly like a plain refusal: who holds one learns nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OTHERWISE: Final = "bank"
DUPLICATE: Final = "duplicate"
"""After which nothing is said of whether it was charged: it may have been, before."""

_CODES: Final = {
    "insufficient": "insufficient_funds withdrawal_count_limit_exceeded",
    "expired": "expired_card invalid_expiry_month invalid_expiry_year",
    "cvc": "incorrect_cvc invalid_cvc",
    "number": "incorrect_number invalid_number invalid_account new_account_information_available",
    "unsupported": "card_not_supported currency_not_supported",
    "amount": "card_velocity_exceeded invalid_amount amount_too_large",
    "auth": "authentication_required payment_intent_authentication_failure setup_intent_authentication_failure "
    "approve_with_id",
    "later": "processing_error issuer_not_available reenter_transaction try_again_later",
    DUPLICATE: "duplicate_transaction",
    OTHERWISE: "generic_decline do_not_honor call_issuer no_action_taken not_permitted service_not_allowed "
    "transaction_not_allowed restricted_card security_violation stop_payment_order revocation_of_authorization "
    "do_not_try_again lost_card stolen_card pickup_card fraudulent merchant_blacklist",
}
KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {code: key for key, codes in _CODES.items() for code in codes.split()}
)
"""Code to key."""


def key_of(*, code: str, decline_code: str) -> str:
    """Return what a refused try reads as; the bank's reason counts before Stripe's."""
    return KEYS.get(decline_code) or KEYS.get(code) or OTHERWISE

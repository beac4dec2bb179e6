"""Test cards under names that people remember."""

from __future__ import annotations

from typing import Final

CARDS: Final = {
    "visa": "pm_card_visa",
    "mastercard": "pm_card_mastercard",
    "amex": "pm_card_amex",
    "3ds": "pm_card_threeDSecure2Required",
    "declined": "pm_card_chargeDeclined",
    "insufficient": "pm_card_chargeDeclinedInsufficientFunds",
    "lost": "pm_card_chargeDeclinedLostCard",
    "stolen": "pm_card_chargeDeclinedStolenCard",
    "expired": "pm_card_chargeDeclinedExpiredCard",
    "wrong-cvc": "pm_card_chargeDeclinedIncorrectCvc",
    "processing-error": "pm_card_chargeDeclinedProcessingError",
    "blocked": "pm_card_radarBlock",
    "3ds-insufficient": "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
    "3ds-on-setup": "pm_card_authenticationRequiredOnSetup",
    "refund-pending": "pm_card_pendingRefund",
    "refund-fails": "pm_card_refundFail",
    "sepa": "pm_sepaDebit_success_de",
    "sepa-fails": "pm_sepaDebit_failed_de",
    "twint": "pm_twint",
}
"""Name to Stripe's id; both are taken."""


def payment_method_id(card: str) -> str:
    """Return Stripe's id of a card named by a friend's name or by its id; ValueError names what there is."""
    if card.startswith("pm_"):
        return card
    if card.casefold() not in CARDS:
        raise ValueError(f"There is no card {card!r}; there are {', '.join(CARDS)}, or an id such as pm_card_visa.")
    return CARDS[card.casefold()]

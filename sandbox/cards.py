"""Stripe's test payment methods and what happens to them, as data.

Ids and outcomes follow docs.stripe.com/testing. Numbers are never accepted: only ids.
"""

from dataclasses import dataclass
from enum import Enum

from sandbox import declines
from sandbox.declines import Decline


class Authentication(Enum):
    """When the issuer asks for 3-D Secure."""

    NEVER = "never"
    ALWAYS = "always"
    UNLESS_SET_UP = "unless_set_up"  # not asked off-session once the method was saved for it
    ON_SESSION = "on_session"  # already set up: off-session succeeds


class RefundOutcome(Enum):
    """What becomes of a refund to the card."""

    SUCCEEDS = "succeeds"
    PENDING_THEN_SUCCEEDS = "pending_then_succeeds"
    SUCCEEDS_THEN_FAILS = "succeeds_then_fails"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeOutcome:
    """What the payer's bank opens once the charge succeeded."""

    reason: str
    inquiry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What stands behind a test payment method: a card, or by `kind` what sandbox/banks.py has."""

    last4: str
    kind: str = "card"  # the payment method's `type`
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    decline: Decline | None = None
    declines_on_attach: bool = False
    authentication: Authentication = Authentication.NEVER
    refund: RefundOutcome = RefundOutcome.SUCCEEDS
    dispute: DisputeOutcome | None = None
    bypasses: bool = False  # the money is available at once
    takes_s: int = 0  # how long the money is on its way; 0: the outcome is known at once


def _refused(last4: str, decline: Decline) -> Card:
    return Card(last4=last4, decline=decline, declines_on_attach=True)


_DECLINING = {
    "": _refused("0002", declines.GENERIC),
    "InsufficientFunds": _refused("9995", declines.INSUFFICIENT_FUNDS),
    "LostCard": _refused("9987", declines.LOST),
    "StolenCard": _refused("9979", declines.STOLEN),
    "ExpiredCard": _refused("0069", declines.EXPIRED),
    "IncorrectCvc": _refused("0127", declines.INCORRECT_CVC),
    "ProcessingError": _refused("0119", declines.PROCESSING_ERROR),
    "VelocityLimitExceeded": _refused("6975", declines.VELOCITY_EXCEEDED),
}

CARDS: dict[str, Card] = {
    "pm_card_visa": Card(last4="4242"),
    "pm_card_visa_debit": Card(last4="5556", funding="debit"),
    "pm_card_mastercard": Card(last4="4444", brand="mastercard"),
    "pm_card_mastercard_debit": Card(last4="8210", brand="mastercard", funding="debit"),
    "pm_card_mastercard_prepaid": Card(last4="5100", brand="mastercard", funding="prepaid"),
    "pm_card_amex": Card(last4="0005", brand="amex"),
    "pm_card_discover": Card(last4="1117", brand="discover"),
    "pm_card_diners": Card(last4="0004", brand="diners"),
    "pm_card_jcb": Card(last4="0505", brand="jcb"),
    "pm_card_unionpay": Card(last4="0005", brand="unionpay"),
    "pm_card_ch": Card(last4="0009", country="CH"),
    "pm_card_de": Card(last4="0016", country="DE"),
    **{f"pm_card_chargeDeclined{suffix}": card for suffix, card in _DECLINING.items()},
    **{f"pm_card_visa_chargeDeclined{suffix}": card for suffix, card in _DECLINING.items()},
    "pm_card_chargeCustomerFail": Card(last4="0341", decline=declines.GENERIC),
    "pm_card_radarBlock": Card(last4="0019", decline=declines.BLOCKED),
    "pm_card_authenticationRequired": Card(last4="3184", authentication=Authentication.ALWAYS),
    "pm_card_threeDSecure2Required": Card(last4="3220", authentication=Authentication.ALWAYS),
    "pm_card_authenticationRequiredOnSetup": Card(last4="3155", authentication=Authentication.UNLESS_SET_UP),
    "pm_card_authenticationRequiredSetupForOffSession": Card(last4="0446", authentication=Authentication.ON_SESSION),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": Card(
        last4="3178", authentication=Authentication.ALWAYS, decline=declines.INSUFFICIENT_FUNDS
    ),
    "pm_card_pendingRefund": Card(last4="7726", refund=RefundOutcome.PENDING_THEN_SUCCEEDS),
    "pm_card_refundFail": Card(last4="5126", refund=RefundOutcome.SUCCEEDS_THEN_FAILS),
    "pm_card_bypassPending": Card(last4="0077", bypasses=True),
    "pm_card_createDispute": Card(last4="0259", dispute=DisputeOutcome(reason="fraudulent")),
    "pm_card_createDisputeProductNotReceived": Card(
        last4="2685", dispute=DisputeOutcome(reason="product_not_received")
    ),
    "pm_card_createDisputeInquiry": Card(last4="1976", dispute=DisputeOutcome(reason="fraudulent", inquiry=True)),
}

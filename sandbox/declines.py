"""Why an issuer refuses a charge, as data: Stripe's decline codes with the advice on trying again.

Codes and what they mean: docs.stripe.com/declines/codes and /declines/card. Which `advice_code` comes with which code
is what an issuer says at the time; Stripe documents none for its test cards. `try_again_later` for a generic decline is
in public recordings of test mode; all others follow what the code means (U).
"""

from dataclasses import dataclass

AUTHENTICATION_REQUIRED = "authentication_required"
_LATER = "try_again_later"
_NEVER = "do_not_try_again"
_CARD_DATA = "confirm_card_data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """Why a charge is refused: error `code`, `decline_code` (card_declined only), and the message a payer reads."""

    code: str
    decline_code: str | None
    message: str
    advice_code: str | None = None  # what the issuer says of trying again, if it says anything
    blocked: bool = False  # by Stripe's own fraud rules, never sent to the issuer


def _declined(decline_code: str, advice_code: str | None, message: str = "Your card was declined.") -> Decline:
    return Decline(code="card_declined", decline_code=decline_code, message=message, advice_code=advice_code)


def _coded(code: str, advice_code: str, message: str) -> Decline:
    return Decline(code=code, decline_code=None, message=message, advice_code=advice_code)


GENERIC = _declined("generic_decline", _LATER)
INSUFFICIENT_FUNDS = _declined("insufficient_funds", _LATER, "Your card has insufficient funds.")
VELOCITY_EXCEEDED = _declined(
    "card_velocity_exceeded",
    _LATER,
    "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
)
LOST = _declined("lost_card", _NEVER)
STOLEN = _declined("stolen_card", _NEVER)
EXPIRED = _coded("expired_card", _CARD_DATA, "Your card has expired.")
INCORRECT_CVC = _coded("incorrect_cvc", _CARD_DATA, "Your card's security code is incorrect.")
PROCESSING_ERROR = _coded(
    "processing_error", _LATER, "An error occurred while processing your card. Try again in a little bit."
)
UNATTENDED = Decline(
    code=AUTHENTICATION_REQUIRED,
    decline_code=AUTHENTICATION_REQUIRED,
    message="Your card was declined. This transaction requires authentication.",
)
BLOCKED = Decline(code="card_declined", decline_code="fraudulent", message="Your card was declined.", blocked=True)

_ALL = (
    GENERIC,
    INSUFFICIENT_FUNDS,
    VELOCITY_EXCEEDED,
    LOST,
    STOLEN,
    EXPIRED,
    INCORRECT_CVC,
    PROCESSING_ERROR,
    UNATTENDED,
    _declined("call_issuer", None),
    _declined("card_not_supported", _NEVER, "Your card is not supported."),
    _declined("do_not_honor", _LATER),
    _declined("do_not_try_again", _NEVER),
    _declined("fraudulent", _NEVER),
    _declined("invalid_account", _NEVER),
    _declined("issuer_not_available", _LATER),
    _declined("pickup_card", _NEVER),
    _declined("restricted_card", _NEVER),
    _declined("revocation_of_authorization", _NEVER),
    _declined("transaction_not_allowed", _NEVER, "Your card does not support this type of purchase."),
    _declined("try_again_later", _LATER),
    _declined("withdrawal_count_limit_exceeded", _LATER),
)
BY_REASON = {decline.decline_code or decline.code: decline for decline in _ALL}
"""By decline code, or by error code where that alone says it."""

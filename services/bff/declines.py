"""What a payer is told of a decline: never that a card is lost, stolen or suspected. Pure."""

from __future__ import annotations

from typing import Final

from batzen.type.v1.payment_pb2 import PaymentError, PaymentState

SUSPICIOUS: Final = frozenset({"lost_card", "stolen_card", "pickup_card", "fraudulent", "merchant_blacklist"})
"""To whoever holds such a card they have to be a plain refusal."""
PLAIN_CODE: Final = "card_declined"
PLAIN_DECLINE: Final = "generic_decline"
PLAIN_MESSAGE: Final = "Your card was declined."


def for_payer(error: PaymentError, state: PaymentState) -> PaymentError:
    """Return a decline as the payer of a payment in this state may see it: in each field what a plain refusal has."""
    if error.decline_code not in SUSPICIOUS and error.code not in SUSPICIOUS:
        return error
    return PaymentError(
        code=PLAIN_CODE,
        decline_code=PLAIN_DECLINE,
        message=PLAIN_MESSAGE,
        recoverable=state != PaymentState.PAYMENT_STATE_FAILED,
    )

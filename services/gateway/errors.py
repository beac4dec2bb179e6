"""What the gateway refuses, and why: a class each, whose docstring is the message. Pure."""

from __future__ import annotations

from datetime import timedelta

from services.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    ResourceExhausted,
    Unavailable,
)


class IntentNotFound(NotFound):
    """The payment has no intent here."""

    reason = "INTENT_NOT_FOUND"


class WrongIntentState(FailedPrecondition):
    """The intent does not allow this as it stands; read it again."""

    reason = "INTENT_STATE"


class CheckoutSessionNotFound(NotFound):
    """The payment has no hosted page here."""

    reason = "CHECKOUT_SESSION_NOT_FOUND"


class AttemptOpen(FailedPrecondition):
    """An earlier attempt of this payment may still take money; cancel it first."""

    reason = "ATTEMPT_OPEN"


class CaptureExceedsCapturable(FailedPrecondition):
    """More than what is capturable."""

    reason = "CAPTURE_EXCEEDS_CAPTURABLE"
    limit = "It must be at most {capturable_minor} minor units."


class CaptureNotRepeatable(FailedPrecondition):
    """Stripe captures this charge once: a part without the final capture would release the rest."""

    reason = "CAPTURE_NOT_REPEATABLE"


class MetadataTooLarge(InvalidRequest):
    """More metadata than Stripe keeps with an object."""

    reason = "METADATA_TOO_LARGE"


class SellerNotFound(NotFound):
    """The seller has no account here; put one first."""

    reason = "SELLER_NOT_FOUND"


class SellerNotPayable(FailedPrecondition):
    """The seller's account cannot be paid now; the metadata says what is missing."""

    reason = "SELLER_NOT_PAYABLE"


class SellerExists(AlreadyExists):
    """The seller already has another account."""

    reason = "SELLER_EXISTS"


class RefundNotFound(NotFound):
    """There is no such refund."""

    reason = "REFUND_NOT_FOUND"


class RefundableChanged(FailedPrecondition):
    """The refundable balance is not what you saw; read it again, then decide."""

    reason = "REFUNDABLE_CHANGED"
    limit = "It is {refundable_minor} minor units."


class RefundExceedsRefundable(FailedPrecondition):
    """More than what is refundable."""

    reason = "REFUND_EXCEEDS_REFUNDABLE"
    limit = "It must be at most {refundable_minor} minor units."


class ChargeDisputed(FailedPrecondition):
    """Stripe does not refund a charge while it is disputed."""

    reason = "CHARGE_DISPUTED"


class LineExceedsRefundable(FailedPrecondition):
    """More than what is left of a line."""

    reason = "LINE_EXCEEDS_REFUNDABLE"
    limit = "It must be at most {refundable_minor} minor units."


class ReceivableNotFound(NotFound):
    """The seller owes nothing of this payment."""

    reason = "RECEIVABLE_NOT_FOUND"


class ReceivableChanged(FailedPrecondition):
    """The seller does not owe what you saw; read it again, then decide."""

    reason = "RECEIVABLE_CHANGED"
    limit = "It is {amount_minor} minor units."


class TransferNotFound(NotFound):
    """There is no such transfer."""

    reason = "TRANSFER_NOT_FOUND"


class TransferExceedsPart(FailedPrecondition):
    """More than the seller is still to have of the payment."""

    reason = "TRANSFER_EXCEEDS_PART"
    limit = "It must be at most {due_minor} minor units."


class ReversalExceedsTransfer(FailedPrecondition):
    """More than what is left of what it goes back on."""

    reason = "REVERSAL_EXCEEDS_TRANSFER"
    limit = "It must be at most {left_minor} minor units."


class DisputeNotFound(NotFound):
    """There is no such dispute."""

    reason = "DISPUTE_NOT_FOUND"


class DisputeClosed(FailedPrecondition):
    """The dispute is decided: it takes no evidence any more, and cannot be given up."""

    reason = "DISPUTE_CLOSED"


class DeadLetterNotFound(NotFound):
    """There is no such dead letter; it may have been replayed already."""

    reason = "DEAD_LETTER_NOT_FOUND"


class ReconciliationNotFound(NotFound):
    """There is no such reconciliation."""

    reason = "RECONCILIATION_NOT_FOUND"


class PageTokenInvalid(InvalidRequest):
    """The page token is none that this method made."""

    reason = "PAGE_TOKEN_INVALID"


class SetupIntentNotFound(NotFound):
    """There is no such setup intent, or it is another payer's."""

    reason = "SETUP_INTENT_NOT_FOUND"


class PaymentMethodNotFound(NotFound):
    """There is no such payment method, or it is another payer's."""

    reason = "PAYMENT_METHOD_NOT_FOUND"


class MethodInUse(FailedPrecondition):
    """Payments that are still to be charged need this method; the metadata names them."""

    reason = "METHOD_IN_USE"


class MethodLimitReached(FailedPrecondition):
    """The payer keeps as many methods as may be kept; remove one first."""

    reason = "METHOD_LIMIT_REACHED"
    limit = "There may be {max}."


class PayerHasOpenPayments(FailedPrecondition):
    """Money of this payer is moving, or may; the metadata names payments. Let it come to its end, then ask again."""

    reason = "PAYER_HAS_OPEN_PAYMENTS"


class TenantNotServed(FailedPrecondition):
    """This gateway has the key of another tenant's Stripe account."""

    reason = "TENANT_NOT_SERVED"


class RecordChanged(AlreadyExists):
    """A record with this id was imported with other content; what was imported is not changed by another import."""

    reason = "RECORD_CHANGED"


class RecordNotSettled(FailedPrecondition):
    """Something of this payment would be moved once it is here: a seller has not what it is to have of it."""

    reason = "RECORD_NOT_SETTLED"


class MovementMissing(InvalidRequest):
    """What Stripe moved with a destination charge is missing: its transfer of all that was captured, or its fee."""

    reason = "MOVEMENT_MISSING"


class StripeIdTaken(AlreadyExists):
    """This object of Stripe's belongs to another payment, payer or seller."""

    reason = "STRIPE_ID_TAKEN"


class PayerHasCustomer(AlreadyExists):
    """The payer has another customer at Stripe already."""

    reason = "PAYER_HAS_CUSTOMER"


class RequestExpired(FailedPrecondition):
    """It was not sent to Stripe in time, and will not be; nothing happened."""

    reason = "REQUEST_EXPIRED"


class StripeRefused(FailedPrecondition):
    """Stripe refuses this for good; the metadata says why."""

    reason = "STRIPE_REFUSED"


class StripeUnavailable(Unavailable):
    """Stripe is away or did not answer; nothing was concluded from that, send the same call again."""

    reason = "STRIPE_UNAVAILABLE"
    retry_after = timedelta(seconds=1)
    was_retried = True


class StripeKeySpent(StripeUnavailable):
    """Stripe repeats a failure that it has stored; send the same call again, which Stripe will see as another."""

    was_retried = False


class Amendable(StripeKeySpent):
    """Stripe refused a part of this that can be amended; send the same call again, which Stripe will see as another."""

    def __init__(self, refusal: StripeRefused) -> None:
        super().__init__()
        self.code = refusal.metadata.get("code", "")
        """Why, in Stripe's words."""
        self.param = refusal.metadata.get("param", "")
        """Which part of what Stripe was asked for."""


class NotNow(StripeKeySpent):
    """Nothing happened, and what keeps it from happening may pass; send the same call again, then or later.

    A call that raises it is discarded: whoever makes it again takes it up, which Stripe sees as another.
    """

    def __init__(self, why: str = "") -> None:
        super().__init__()
        self.why = why
        """In a word of whoever raised it, to be told to whoever made the call."""


class StripeRateLimited(ResourceExhausted):
    """Stripe's limit for this account is reached; send the same call again later."""

    reason = "STRIPE_RATE_LIMITED"
    retry_after = timedelta(seconds=2)

"""Why the command side refuses: one class a reason, its docstring the message that a caller reads."""

from __future__ import annotations

import math
from datetime import timedelta

from services.errors import AlreadyExists, FailedPrecondition, InvalidRequest, NotFound, ResourceExhausted, ServiceError


class PaymentNotFound(NotFound):
    """There is no such payment."""

    reason = "PAYMENT_NOT_FOUND"


class PaymentState(FailedPrecondition):
    """The payment's state does not allow this; read it, then decide."""

    reason = "PAYMENT_STATE"
    limit = "It is {state}."


class AttemptOpen(FailedPrecondition):
    """The earlier attempt may still take money: Stripe did not say that it is over; read the payment, then decide."""

    reason = "ATTEMPT_OPEN"


class MetadataTooLarge(InvalidRequest):
    """The ids of bookings and cart are more than Stripe keeps with an object; pay for fewer at once."""

    reason = "METADATA_TOO_LARGE"


class AmountNotChargeable(InvalidRequest):
    """Stripe cannot charge this total in this currency."""

    reason = "AMOUNT_NOT_CHARGEABLE"
    limit = "It must be {minimum_minor} to {maximum_minor} minor units of {currency_code}, in steps of {step_minor}."


class TooManySellers(InvalidRequest):
    """A payment has at most 100 sellers."""

    reason = "TOO_MANY_SELLERS"


class SellerNotFound(NotFound):
    """A seller of these lines has no account here; the metadata names them."""

    reason = "SELLER_NOT_FOUND"


class SellerNotPayable(FailedPrecondition):
    """A seller of these lines cannot be paid now; the metadata says who, and what is missing."""

    reason = "SELLER_NOT_PAYABLE"


class PriceChanged(FailedPrecondition):
    """The payment costs something else than its payer was shown; nothing was charged. Show them the new price."""

    reason = "PRICE_CHANGED"


class TimingChanged(FailedPrecondition):
    """The payment is taken at another time than its payer was shown; nothing was charged. Show them the timing."""

    reason = "TIMING_CHANGED"


class MethodRefused(FailedPrecondition):
    """Stripe does not take this payment method; choose another."""

    reason = "METHOD_REFUSED"


class SubmitRefused(FailedPrecondition):
    """Stripe refuses this for good, whatever the payment method; the metadata says why."""

    reason = "SUBMIT_REFUSED"


class SubmitExpired(FailedPrecondition):
    """The submit did not reach Stripe in time and was given up; nothing was charged. Submit again, under a new id."""

    reason = "SUBMIT_EXPIRED"


class HostedCheckoutRequired(FailedPrecondition):
    """Too many methods of this payment were declined in a form; go on at its hosted page."""

    reason = "HOSTED_CHECKOUT_REQUIRED"


class TooManyDeclines(ResourceExhausted):
    """Too many declines of this payer, from this address or of this card; wait, or pay otherwise."""

    reason = "TOO_MANY_DECLINES"

    def __init__(self, *, retry_after: timedelta) -> None:
        super().__init__(retry_after_s=math.ceil(retry_after.total_seconds()))
        self.retry_after = retry_after


class StartsPaused(FailedPrecondition):
    """New payments are not taken at the moment; those that were started go on. The metadata says what may be shown."""

    reason = "STARTS_PAUSED"


class BookingHasPayment(AlreadyExists):
    """Another payment of this booking is open, or has taken money; the metadata names it."""

    reason = "BOOKING_HAS_PAYMENT"


class BookingNotPayable(FailedPrecondition):
    """The platform says that these bookings cannot be paid for; the metadata says why."""

    reason = "BOOKING_NOT_PAYABLE"


class TooManyBookings(FailedPrecondition):
    """A payment has at most 100 bookings."""

    reason = "TOO_MANY_BOOKINGS"


class PageTokenInvalid(InvalidRequest):
    """The page token is none that this method made."""

    reason = "PAGE_TOKEN_INVALID"


class RefundableChanged(FailedPrecondition):
    """The refundable balance is not what you saw; read the payment, then decide again."""

    reason = "REFUNDABLE_CHANGED"
    limit = "It is {refundable_minor} minor units."


class RefundExceedsRefundable(FailedPrecondition):
    """More than what is refundable."""

    reason = "REFUND_EXCEEDS_REFUNDABLE"
    limit = "It must be at most {refundable_minor} minor units."


class NothingRefundable(RefundExceedsRefundable):
    """Nothing is left of the payment to give back."""

    limit = ""


class RefundBeyondPolicy(FailedPrecondition):
    """More than the refund policy of this payment gives back now; the metadata says what it gives."""

    reason = "REFUND_BEYOND_POLICY"
    limit = "It must be at most {allowed_minor} minor units."


class LedgerContradicted(FailedPrecondition):
    """That would contradict the money that moved; the payment stands as the metadata says."""

    reason = "LEDGER_CONTRADICTED"


class AttentionNotFound(NotFound):
    """There is no such attention item."""

    reason = "ATTENTION_NOT_FOUND"


class AttentionResolved(FailedPrecondition):
    """It is resolved: nobody needs to look after it any more."""

    reason = "ATTENTION_RESOLVED"


class ResolutionDoesNotFit(FailedPrecondition):
    """This does not fit how the payment stands; the metadata says what does."""

    reason = "RESOLUTION_DOES_NOT_FIT"


class RefundRefused(FailedPrecondition):
    """Stripe refuses this refund for good."""

    reason = "REFUND_REFUSED"


class CaptureExceedsCapturable(FailedPrecondition):
    """More than what is held and not captured yet."""

    reason = "CAPTURE_EXCEEDS_CAPTURABLE"
    limit = "It must be at most {capturable_minor} minor units."


class CaptureNotRepeatable(FailedPrecondition):
    """Stripe captures this charge once: a part releases the rest, which only the final capture may."""

    reason = "CAPTURE_NOT_REPEATABLE"


class CaptureRefused(FailedPrecondition):
    """Stripe refuses this capture for good; what is held is still held."""

    reason = "CAPTURE_REFUSED"


class WebhookSubscriptionNotFound(NotFound):
    """There is no such webhook subscription."""

    reason = "WEBHOOK_SUBSCRIPTION_NOT_FOUND"


class WebhookSubscriptionDeleted(FailedPrecondition):
    """The webhook subscription was deleted, and its deliveries are still kept; choose another name."""

    reason = "WEBHOOK_SUBSCRIPTION_DELETED"


class WebhookDeliveryNotFound(NotFound):
    """There is no such webhook delivery; nothing was replayed."""

    reason = "WEBHOOK_DELIVERY_NOT_FOUND"


class WebhooksNotConfigured(FailedPrecondition):
    """This deployment has no key that the secrets of webhooks are kept under; set BATZEN_WEBHOOK_KEY."""

    reason = "WEBHOOKS_NOT_CONFIGURED"


class TooManyWebhookSubscriptions(ResourceExhausted):
    """A tenant has at most 50 webhook subscriptions; delete one that nobody needs."""

    reason = "TOO_MANY_WEBHOOK_SUBSCRIPTIONS"


class NotOffered(ServiceError):
    """This way of taking or collecting money is not offered by this version."""

    status = "UNIMPLEMENTED"
    reason = "NOT_OFFERED"


class SellerPartNotCovered(NotOffered):
    """Sellers are due something, and the payer pays nothing; that the platform pays all of it is not offered."""


class NotificationNotFound(NotFound):
    """There is no such notification of this recipient."""

    reason = "NOTIFICATION_NOT_FOUND"


class NotificationMandatory(FailedPrecondition):
    """Who is told of this has to know it, so that nobody opts out of it; leave it out of the request."""

    reason = "NOTIFICATION_MANDATORY"


class UnsubscribeTokenInvalid(InvalidRequest):
    """The link by which mails are declined was changed, or is of no mail of this tenant; take the one in the mail."""

    reason = "UNSUBSCRIBE_TOKEN_INVALID"

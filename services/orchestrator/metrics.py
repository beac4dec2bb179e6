"""What the orchestrator counts beside its calls: payments, money, declines, and what waits or needs somebody.

What happens to a payment is counted where its plan is saved, under its lease: once, whoever carries it on.
A process that dies between the two leaves it uncounted, so these figures may say less than there was. They are no
books: what was paid is in status, and at Stripe.
"""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Metric, counter, gauge, histogram, one_of, up_to
from services.shared.states import AttentionReason, State

CURRENCIES_MAX: Final = 48
"""With a series of their own; a price book has a handful."""
ENDS: Final = (State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED)

DECLINE_CODES: Final = (
    "approve_with_id", "authentication_required", "call_issuer", "card_not_supported", "card_velocity_exceeded",
    "currency_not_supported", "do_not_honor", "do_not_try_again", "duplicate_transaction", "expired_card", "fraudulent",
    "generic_decline", "incorrect_address", "incorrect_cvc", "incorrect_number", "incorrect_pin", "incorrect_zip",
    "insufficient_funds", "invalid_account", "invalid_amount", "invalid_cvc", "invalid_expiry_month",
    "invalid_expiry_year", "invalid_number", "invalid_pin", "issuer_not_available", "lost_card",
    "merchant_blacklist", "mobile_device_authentication_required", "new_account_information_available",
    "no_action_taken", "not_permitted", "offline_pin_required", "online_or_offline_pin_required", "pickup_card",
    "pin_try_exceeded", "previously_declined_do_not_retry", "processing_error", "reenter_transaction",
    "restricted_card", "revocation_of_all_authorizations", "revocation_of_authorization", "security_violation",
    "service_not_allowed", "stolen_card", "stop_payment_order", "testmode_decline", "transaction_not_allowed",
    "try_again_later", "withdrawal_count_limit_exceeded",
)  # fmt: skip
"""Those that Stripe documents; https://docs.stripe.com/declines/codes."""

_CURRENCY: Final = up_to(CURRENCIES_MAX, "currency", "each currency that was paid in")
_MISSES: Final = " What was saved by a process that died right after is missing: no books."

PAYMENTS_STARTED: Final = counter("batzen_payments_started_total", "Payments that were opened." + _MISSES, _CURRENCY)
PAYMENTS_ENDED: Final = counter(
    "batzen_payments_ended_total",
    "Payments that came to an end of collecting; one whose money comes late comes to a second one." + _MISSES,
    one_of("state", *ENDS),
)
CAPTURED: Final = counter(
    "batzen_payments_captured_minor_total", "Captured, in minor units of the currency." + _MISSES, _CURRENCY
)
REFUNDED: Final = counter(
    "batzen_payments_refunded_minor_total", "Refunded, in minor units of the currency." + _MISSES, _CURRENCY
)
REFUNDS_FAILED: Final = counter(
    "batzen_payments_refunds_failed_minor_total",
    "Counted as refunded and then not: the refund failed late; in minor units of the currency." + _MISSES,
    _CURRENCY,
)
DECLINES: Final = counter(
    "batzen_payment_declines_total",
    "Confirms that were declined, by Stripe's decline code." + _MISSES,
    one_of("code", *DECLINE_CODES),
)
OUTBOX_PENDING: Final = gauge(
    "batzen_transition_outbox_pending",
    "Transitions that status has not recorded yet; at most 10000 are counted. Each replica counts all: use max().",
)
OUTBOX_OLDEST: Final = gauge(
    "batzen_transition_outbox_oldest_seconds",
    "For how long the oldest of them waits; 0 where none does. Each replica says so of all: use max().",
)
RECOVERIES: Final = counter(
    "batzen_recoveries_total",
    "Payments that were carried on by due work, by whether all that was due then was done; failed is tried again.",
    one_of("outcome", "moved", "failed"),
)
ATTENTION: Final = gauge(
    "batzen_attention_payments",
    "Payments that need an operator, by why; at most 10000 are counted. Each replica counts all: use max().",
    one_of("kind", *AttentionReason),
)
WEBHOOK_TO_STATUS: Final = histogram(
    "batzen_webhook_to_status_seconds",
    "From when the gateway had kept what a webhook showed, or what a call without an answer led to, until status had"
    " recorded it.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 600),
)

METRICS: Final[tuple[Metric, ...]] = (
    PAYMENTS_STARTED, PAYMENTS_ENDED, CAPTURED, REFUNDED, REFUNDS_FAILED, DECLINES, OUTBOX_PENDING, OUTBOX_OLDEST,
    RECOVERIES, ATTENTION, WEBHOOK_TO_STATUS,
)  # fmt: skip

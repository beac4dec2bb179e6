"""What the orchestrator counts beside its calls: payments, money, declines, and what waits or needs somebody.

What happens to a payment is counted where its plan is saved, under its lease: once, whoever carries it on.
A process that dies between the two leaves it uncounted, so these figures may say less than there was. They are no
books: what was paid is in status, and at Stripe.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.orchestrator.diagnosis import metrics as diagnosis
from services.orchestrator.domain.agenda import WATCHED, Planned
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.plan import NextStep
from services.orchestrator.facts import metrics as facts
from services.orchestrator.imports import metrics as imports
from services.orchestrator.mail import metrics as mail
from services.orchestrator.notifications import metrics as notifications
from services.orchestrator.webhooks_out import metrics as webhooks
from services.runtime.observability.metrics import OFF, OTHER, Meter, Metric, counter, gauge, histogram, one_of, up_to
from services.shared.states import AttentionReason, State


class CheckOutcome(StrEnum):
    """What the platform's check of bookings answered."""

    PAYABLE = "payable"
    REFUSED = "refused"
    SILENT = "silent"


CURRENCIES_MAX: Final = 48
"""With a series of their own; a price book has a handful."""
WAITING_COUNTED_MAX: Final = 10_000
"""Rows of the outbox that are counted."""
ATTENTION_COUNTED_MAX: Final = 1_000
"""Payments that are counted of those that need an operator. Each of them is read."""
TENANTS_MAX: Final = 100
"""Whose new payments were ever stopped."""
PLANNED_COUNTED_MAX: Final = 10_000
"""Payments that are counted of those that wait for one step of their plans."""
OPEN_BOOKINGS_COUNTED_MAX: Final = 10_000
ENDS: Final = (State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED)

DECLINE_CODES: Final = (
    "approve_with_id", "authentication_required", "call_issuer", "card_not_supported", "card_velocity_exceeded",
    "currency_not_supported", "do_not_honor", "do_not_try_again", "duplicate_transaction", "expired_card", "fraudulent",
    "generic_decline", "incorrect_address", "incorrect_cvc", "incorrect_number", "incorrect_pin", "incorrect_zip",
    "insufficient_funds", "invalid_account", "invalid_amount", "invalid_cvc", "invalid_expiry_month",
    "invalid_expiry_year", "invalid_number", "invalid_pin", "issuer_not_available", "lost_card",
    "merchant_blacklist", "mobile_device_authentication_required", "new_account_information_available",
    "no_action_taken", "not_permitted", "offline_pin_required", "online_or_offline_pin_required", "pickup_card",
    "pin_try_exceeded", "processing_error", "reenter_transaction",
    "restricted_card", "revocation_of_all_authorizations", "revocation_of_authorization", "security_violation",
    "service_not_allowed", "stolen_card", "stop_payment_order", "testmode_decline", "transaction_not_allowed",
    "try_again_later", "withdrawal_count_limit_exceeded",
    # Without a decline code the error's own code counts.
    "card_declined", "payment_intent_authentication_failure",
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
    "Confirms that were declined, by Stripe's decline code, or its error code where there is none." + _MISSES,
    one_of("code", *DECLINE_CODES),
)
OUTBOX_PENDING: Final = gauge(
    "batzen_transition_outbox_pending",
    f"Transitions that status has not recorded yet; at most {WAITING_COUNTED_MAX} are counted."
    " Each replica counts all: use max().",
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
    f"Payments that need an operator, by why; at most {ATTENTION_COUNTED_MAX} are counted."
    " Each replica counts all: use max().",
    one_of("kind", *AttentionReason),
)
WEBHOOK_TO_STATUS: Final = histogram(
    "batzen_webhook_to_status_seconds",
    "From when the gateway had kept what a webhook showed, or what a call without an answer led to, until status had"
    " recorded it.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 600),
)

PLANNED: Final = gauge(
    "batzen_planned_payments",
    f"Payments whose plan does a step next by itself; at most {PLANNED_COUNTED_MAX} of each are counted."
    " Each replica counts all: use max().",
    one_of("step", *WATCHED),
)
PLANNED_LATE: Final = gauge(
    "batzen_planned_late_seconds",
    "For how long the earliest of them has been due; 0 where none is. Each replica says so of all: use max().",
    one_of("step", *WATCHED),
)
OPEN_BOOKINGS: Final = gauge(
    "batzen_open_booking_payments",
    f"Payments of bookings that are not over; at most {OPEN_BOOKINGS_COUNTED_MAX} are counted."
    " Each replica counts all: use max().",
)
BOOKING_CHECKS: Final = counter(
    "batzen_booking_checks_total",
    "What the platform answered when asked whether bookings may be paid for; silent, where it did not.",
    one_of("outcome", *CheckOutcome),
)

STARTS_PAUSED: Final = gauge(
    "batzen_starts_paused",
    "1 while an operator stops new payments of a tenant, 0 since it takes them again. Each replica says it: use max().",
    up_to(TENANTS_MAX, "tenant", "each tenant that ever stopped them"),
)

METRICS: Final[tuple[Metric, ...]] = (
    PAYMENTS_STARTED, PAYMENTS_ENDED, CAPTURED, REFUNDED, REFUNDS_FAILED, DECLINES, OUTBOX_PENDING, OUTBOX_OLDEST,
    RECOVERIES, ATTENTION, WEBHOOK_TO_STATUS, STARTS_PAUSED, PLANNED, PLANNED_LATE, OPEN_BOOKINGS, BOOKING_CHECKS,
    *facts.METRICS, *notifications.METRICS, *mail.METRICS, *webhooks.METRICS, *imports.METRICS, *diagnosis.METRICS,
)  # fmt: skip


class OrchestratorMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self.is_on = meter.is_on
        self._started = meter.counter(PAYMENTS_STARTED)
        self._ended = meter.counter(PAYMENTS_ENDED)
        self._captured = meter.counter(CAPTURED)
        self._refunded = meter.counter(REFUNDED)
        self._refunds_failed = meter.counter(REFUNDS_FAILED)
        self._declines = meter.counter(DECLINES)
        self._outbox_pending = meter.gauge(OUTBOX_PENDING)
        self._outbox_oldest = meter.gauge(OUTBOX_OLDEST)
        self._recoveries = meter.counter(RECOVERIES)
        self._attention = meter.gauge(ATTENTION)
        self._to_status = meter.histogram(WEBHOOK_TO_STATUS)
        self._starts_paused = meter.gauge(STARTS_PAUSED)
        self._planned = meter.gauge(PLANNED)
        self._planned_late = meter.gauge(PLANNED_LATE)
        self._open_bookings = meter.gauge(OPEN_BOOKINGS)
        self._booking_checks = meter.counter(BOOKING_CHECKS)

    def opened(self, *, currency: str | None) -> None:
        """Count a payment that was opened, once that is saved."""
        self._started.add(currency or OTHER)

    def moved(self, before: Snapshot, now: Snapshot, *, currency: str | None) -> None:
        """Count what became true of a payment between two saves, once the later one is made."""
        if not self.is_on or before is now:
            return
        if now.collection is not before.collection and now.collection in ENDS:
            self._ended.add(now.collection)
        captured = now.amounts.captured_minor - before.amounts.captured_minor
        refunded = now.amounts.refunded_minor - before.amounts.refunded_minor
        declines = now.decline_count - before.decline_count
        if captured > 0:
            self._captured.add(currency or OTHER, amount=captured)
        if refunded > 0:
            self._refunded.add(currency or OTHER, amount=refunded)
        elif refunded < 0:
            self._refunds_failed.add(currency or OTHER, amount=-refunded)
        if declines > 0:
            error = now.last_error
            self._declines.add(error.decline_code or error.code if error is not None else OTHER, amount=declines)

    def recovered(self, *, is_moved: bool) -> None:
        """Count a payment that due work carried on, or tried to."""
        self._recoveries.add("moved" if is_moved else "failed")

    def recorded(self, *, seconds: float) -> None:
        """Note that status recorded what was delivered, so long after the gateway had kept it."""
        self._to_status.observe(max(0.0, seconds))

    def waits(self, *, pending: int, oldest_s: float, attention: Mapping[str, int]) -> None:
        """Show what waits for status, and what waits for an operator."""
        self._outbox_pending.set(pending)
        self._outbox_oldest.set(oldest_s)
        for reason in AttentionReason:
            self._attention.set(attention.get(reason, 0), reason)

    def plans(self, *, planned: Mapping[NextStep, Planned], now: datetime, open_bookings: int) -> None:
        """Show what plans do next by themselves, and how late the earliest of that is."""
        for step in WATCHED:
            waiting = planned.get(step)
            late_s = 0.0 if waiting is None else max(0.0, (now - waiting.first_time).total_seconds())
            self._planned.set(0 if waiting is None else waiting.payments, step)
            self._planned_late.set(late_s, step)
        self._open_bookings.set(open_bookings)

    def checked(self, outcome: CheckOutcome) -> None:
        """Count what the platform said of bookings."""
        self._booking_checks.add(outcome)

    def starts(self, *, paused: Mapping[str, bool]) -> None:
        """Show of tenants whether their new payments are stopped."""
        for tenant_id, is_paused in paused.items():
            self._starts_paused.set(is_paused, tenant_id)


UNCOUNTED: Final = OrchestratorMetrics(OFF)

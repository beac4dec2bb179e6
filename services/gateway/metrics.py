"""What the gateway counts beside its calls: calls of Stripe, webhooks, what is not known, and what it delivers."""

from __future__ import annotations

from typing import Final

from services.gateway.balance import metrics as balance
from services.gateway.deliveries import metrics as deliveries
from services.gateway.disputes import metrics as disputes
from services.gateway.ledger import metrics as ledger
from services.gateway.notices import metrics as notices
from services.gateway.payouts import metrics as payouts
from services.gateway.personal import metrics as personal
from services.gateway.polling import metrics as polling
from services.gateway.receivables import metrics as receivables
from services.gateway.reconciliation import metrics as reconciliations
from services.gateway.settlement import metrics as settlement
from services.gateway.stripe_api import metrics as stripe_api
from services.gateway.webhooks import metrics as webhooks
from services.runtime.observability.metrics import Meter, Metric, gauge

UNKNOWN_AFTER_S: Final = 60.0
"""After this a call without an answer is no longer on its way: all tries of a call have 20 s."""

STRIPE_KEY_REFUSED: Final = gauge(
    "batzen_stripe_key_refused",
    "1 while the file of STRIPE_API_KEY has a key that is not used, since it opens another account or none; 0 else.",
)
PAYMENTS_UNKNOWN: Final = gauge(
    "batzen_payments_unknown",
    "Calls that were sent to Stripe, and of which the outcome is not known after a minute. Each replica counts all:"
    " use max().",
)
PAYMENTS_UNKNOWN_OLDEST: Final = gauge(
    "batzen_payments_unknown_oldest_seconds",
    "For how long the oldest of them is not known; 0 where there is none. Each replica says so of all: use max().",
)

METRICS: Final[tuple[Metric, ...]] = (
    *stripe_api.METRICS, STRIPE_KEY_REFUSED, PAYMENTS_UNKNOWN, PAYMENTS_UNKNOWN_OLDEST, *webhooks.METRICS,
    *deliveries.METRICS, *disputes.METRICS, *ledger.METRICS, *receivables.METRICS, *balance.METRICS,
    *reconciliations.METRICS, *notices.METRICS, *payouts.METRICS, *personal.METRICS, *settlement.METRICS,
    *polling.METRICS,
)  # fmt: skip


class GatewayMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self.stripe = stripe_api.StripeMetrics(meter)
        self.balance = balance.BalanceMetrics(meter)
        self.deliveries = deliveries.DeliveryMetrics(meter)
        self.disputes = disputes.DisputeMetrics(meter)
        self.ledger = ledger.LedgerMetrics(meter)
        self.notices = notices.NoticeMetrics(meter)
        self.payouts = payouts.PayoutMetrics(meter)
        self.receivables = receivables.ReceivableMetrics(meter)
        self.reconciliations = reconciliations.ReconciliationMetrics(meter)
        self.personal = personal.KeyMetrics(meter)
        self.polling = polling.PollMetrics(meter)
        self.settlement = settlement.SettlementMetrics(meter)
        self.webhooks = webhooks.WebhookMetrics(meter)
        self._unknown = meter.gauge(PAYMENTS_UNKNOWN)
        self._unknown_oldest = meter.gauge(PAYMENTS_UNKNOWN_OLDEST)

    def unknown(self, *, calls: int, oldest_s: float) -> None:
        """Show of how many calls the outcome is not known."""
        self._unknown.set(calls)
        self._unknown_oldest.set(oldest_s)

"""Stripe: what is called there, and what comes from there."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

UNANSWERED: Final = '{outcome=~"failure|unreadable|silence|unsent|no_access|no_endpoint"}'
"""What came back is no answer of Stripe's to what was asked."""


def _none_arrived(window: str) -> str:
    return f"""(sum(increase(batzen_payments_ended_total{{state="SUCCEEDED"}}[{window}])) > 10
  and (sum(increase(batzen_webhooks_received_total[{window}])) or vector(0)) == 0
  and (sum(increase(batzen_events_polled_total[{window}])) or vector(0)) == 0)"""


GROUP: Final = Group(
    name="batzen-stripe",
    rules=[
        Alert(
            name="BatzenStripeAway",
            severity=Severity.PAGE,
            expr="max by (share) (batzen_stripe_breaker_open) > 0",
            lasting="1m",
            summary="Stripe does not answer: calls of the class {{ $labels.share }} are refused without being sent",
        ),
        Alert(
            name="BatzenStripeKeyRefused",
            severity=Severity.PAGE,
            expr="max(batzen_stripe_key_refused) > 0",
            lasting="1m",
            summary="The mounted key of Stripe is not used: it opens another account, or none",
        ),
        Alert(
            name="BatzenStripeErrors",
            severity=Severity.TICKET,
            expr=f"""sum(rate(batzen_stripe_calls_total{UNANSWERED}[5m]))
  / sum(rate(batzen_stripe_calls_total{{outcome!="not_sent"}}[5m])) > 0.05
and sum(increase(batzen_stripe_calls_total{UNANSWERED}[5m])) > 3""",
            lasting="5m",
            summary="{{ $value | humanizePercentage }} of the calls of Stripe have no answer",
        ),
        Alert(
            name="BatzenStripeRateWaits",
            severity=Severity.TICKET,
            expr="""histogram_quantile(0.95, sum by (le) (rate(batzen_stripe_rate_wait_seconds_bucket[5m]))) > 0.5""",
            lasting="5m",
            summary="5 % of the calls of Stripe wait for their turn for more than {{ $value | humanizeDuration }}",
        ),
        Alert(
            # Anybody on the internet can cause it, so it wakes nobody while Stripe's own webhooks are accepted.
            name="BatzenWebhookSignaturesInvalid",
            severity=Severity.TICKET,
            expr="sum by (endpoint) (increase(batzen_webhook_signature_failures_total[5m])) > 5",
            lasting="1m",
            summary='{{ $value | printf "%.0f" }} webhooks at {{ $labels.endpoint }} in 5 minutes: wrong signature',
        ),
        Alert(
            name="BatzenWebhooksRefused",
            severity=Severity.PAGE,
            expr="""sum(increase(batzen_webhook_signature_failures_total[15m])) > 5
and (sum(increase(batzen_webhooks_received_total[15m])) or vector(0)) == 0""",
            lasting="1m",
            summary='{{ $value | printf "%.0f" }} webhooks in 15 minutes: wrong signature, and none was right',
        ),
        Alert(
            name="BatzenWebhooksStopped",
            severity=Severity.PAGE,
            expr="\nor ".join(_none_arrived(window) for window in ("30m", "6h")),
            lasting="5m",
            summary='{{ $value | printf "%.0f" }} payments succeeded, and no webhook arrived',
        ),
        Alert(
            name="BatzenWebhooksLate",
            severity=Severity.TICKET,
            # One webhook that Stripe repeats is one of few at night.
            expr="""histogram_quantile(0.95, sum by (le) (rate(batzen_webhook_lag_seconds_bucket[15m]))) > 60
and sum(increase(batzen_webhook_lag_seconds_count[15m])) > 20""",
            lasting="5m",
            summary="5 % of the webhooks are applied more than {{ $value | humanizeDuration }} after Stripe made them",
        ),
        Alert(
            name="BatzenInboxOld",
            severity=Severity.PAGE,
            expr="max(batzen_webhook_inbox_oldest_seconds) > 120",
            lasting="1m",
            summary="A webhook waits to be applied for {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenInboxDeep",
            severity=Severity.TICKET,
            expr="max(batzen_webhook_inbox_pending) > 1000",
            lasting="5m",
            summary="{{ $value }} webhooks wait to be applied",
        ),
        Alert(
            # Sellers' accounts are read by turns, of which one takes as long as there are many.
            name="BatzenEventsNotRead",
            severity=Severity.TICKET,
            expr="max(batzen_event_poll_age_seconds) > 900",
            lasting="1m",
            summary="Stripe's events have not been read to their end for {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenEventsMayBeMissing",
            severity=Severity.PAGE,
            expr="max(batzen_event_poll_gap_seconds) > 0",
            lasting="1m",
            summary="Of {{ $value | humanizeDuration }} nobody read Stripe's events before they were listed no more",
        ),
    ],
)

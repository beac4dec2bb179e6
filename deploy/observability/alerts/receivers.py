"""Receivers of webhooks: those that take nothing, what waits for them, and what was given up."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

GROUP: Final = Group(
    name="batzen-receivers",
    rules=[
        Alert(
            name="BatzenWebhookReceiverFails",
            severity=Severity.TICKET,
            expr="max by (receiver) (batzen_webhook_receiver_failing_seconds) > 900",
            lasting="1m",
            summary="{{ $labels.receiver }} has taken no webhook for {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenWebhooksWait",
            severity=Severity.TICKET,
            # A delivery is tried every 72 minutes at least. One that waits for longer than two tries is of a receiver
            # that fails, or that takes all but this, or we do not send.
            expr="max by (receiver) (batzen_webhook_oldest_waiting_seconds) > 9000",
            lasting="5m",
            summary="A webhook to {{ $labels.receiver }} waits for {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenWebhooksGivenUp",
            severity=Severity.TICKET,
            expr="max by (receiver) (batzen_webhook_dead) > 0",
            lasting="1m",
            summary="{{ $value }} webhooks to {{ $labels.receiver }} were given up",
        ),
    ],
)

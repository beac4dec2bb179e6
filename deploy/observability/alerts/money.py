"""What a payment waits for: outcomes, outboxes, due work, operators."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

GROUP: Final = Group(
    name="batzen-money",
    rules=[
        Alert(
            name="BatzenOutcomeUnknown",
            severity=Severity.PAGE,
            expr="max by (job) (batzen_payments_unknown_oldest_seconds) > 600",
            lasting="1m",
            summary="The outcome of a call that takes money is unknown for {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenTransitionsNotRecorded",
            severity=Severity.PAGE,
            expr="max by (job) (batzen_transition_outbox_oldest_seconds) > 120",
            lasting="1m",
            summary="A transition waits for status for {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenWorkLate",
            severity=Severity.TICKET,
            expr="max by (job, kind) (batzen_work_oldest_due_seconds) > 300",
            lasting="5m",
            summary="{{ $labels.job }}: work of kind {{ $labels.kind }} is late by {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenWorkPilesUp",
            severity=Severity.TICKET,
            expr="max by (job, kind) (batzen_work_due) > 1000",
            lasting="10m",
            summary="{{ $labels.job }}: {{ $value }} rows of kind {{ $labels.kind }} are due",
        ),
        Alert(
            name="BatzenDeadLetters",
            severity=Severity.TICKET,
            expr="max by (job, kind) (batzen_dead_letters) > 0",
            lasting="1m",
            summary="{{ $labels.job }}: {{ $value }} rows of kind {{ $labels.kind }} were given up",
        ),
        Alert(
            name="BatzenAttention",
            severity=Severity.TICKET,
            expr="max by (kind) (batzen_attention_payments) > 0",
            lasting="5m",
            summary="{{ $value }} payments need an operator: {{ $labels.kind }}",
        ),
        Alert(
            name="BatzenPayoutFailed",
            severity=Severity.TICKET,
            expr="max by (of) (batzen_payouts_failed) > 0",
            lasting="1m",
            summary="{{ $value }} payouts did not arrive at a bank: {{ $labels.of }}",
        ),
        Alert(
            name="BatzenPlansLate",
            severity=Severity.PAGE,
            expr='max by (step) (batzen_planned_late_seconds{step=~"CHARGE|CAPTURE|RELEASE"}) > 600',
            lasting="5m",
            summary="A {{ $labels.step }} that a plan does by itself is late by {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenHoldLapses",
            severity=Severity.PAGE,
            expr='max(batzen_attention_payments{kind="HOLD_LAPSES"}) > 0',
            lasting="1m",
            summary="{{ $value }} holds lapse within a day, and nobody captures or releases them",
        ),
        Alert(
            name="BatzenBookingCheckSilent",
            severity=Severity.TICKET,
            expr="""sum(rate(batzen_booking_checks_total{outcome="silent"}[5m]))
  / sum(rate(batzen_booking_checks_total[5m])) > 0.1
and sum(increase(batzen_booking_checks_total[5m])) > 10""",
            lasting="2m",
            summary="The platform does not answer {{ $value | humanizePercentage }} of the checks of bookings",
        ),
        Alert(
            name="BatzenRecoveriesFail",
            severity=Severity.TICKET,
            expr="""sum(rate(batzen_recoveries_total{outcome="moved"}[15m]))
  / sum(rate(batzen_recoveries_total[15m])) < 0.9
and sum(increase(batzen_recoveries_total[15m])) > 10""",
            lasting="5m",
            summary="Only {{ $value | humanizePercentage }} of the payments that were picked up again moved on",
        ),
        Alert(
            name="BatzenStatesSlow",
            severity=Severity.TICKET,
            expr="""histogram_quantile(0.95, sum by (le, state) (
  rate(batzen_payment_state_seconds_bucket{state=~"INITIALIZED|PROCESSING"}[5m]))) > 5""",
            lasting="5m",
            summary="5 % of the payments stay {{ $labels.state }} for more than {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenStartsPaused",
            severity=Severity.INFO,
            expr="max by (tenant) (batzen_starts_paused) > 0",
            lasting="0s",
            summary="New payments of {{ $labels.tenant }} are paused by an operator",
        ),
    ],
)

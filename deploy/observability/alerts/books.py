"""The books: whether Stripe and the suite say the same, whether everybody has their part, and what is due by when."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

OF_THE_LEDGER: Final = "LEDGER_UNBALANCED|CLOSING"
"""Findings that need no look at Stripe: our own entries are not what they are to be."""
WITH_AN_ALERT: Final = f"{OF_THE_LEDGER}|UNCLASSIFIED|CLEARING_OLD"

GROUP: Final = Group(
    name="batzen-books",
    rules=[
        Alert(
            name="BatzenLedgerDrifts",
            severity=Severity.PAGE,
            expr=f'max by (kind) (batzen_reconciliation_findings{{kind=~"{OF_THE_LEDGER}"}}) > 0',
            lasting="1m",
            summary="The ledger contradicts itself in {{ $value }} places: {{ $labels.kind }}",
        ),
        Alert(
            name="BatzenReconciliationDiffers",
            severity=Severity.TICKET,
            expr=f'max by (kind) (batzen_reconciliation_findings{{kind!~"{WITH_AN_ALERT}"}}) > 0',
            lasting="1m",
            summary="Stripe and the suite differ in {{ $value }} places: {{ $labels.kind }}",
        ),
        Alert(
            name="BatzenReconciliationRemainder",
            severity=Severity.TICKET,
            expr="max by (currency) (batzen_reconciliation_remainder_minor) > 0",
            lasting="1m",
            summary="{{ $value }} minor units of {{ $labels.currency }} are accounted for by nothing",
        ),
        Alert(
            name="BatzenClearingOld",
            severity=Severity.TICKET,
            expr='max(batzen_reconciliation_findings{kind="CLEARING_OLD"}) > 0',
            lasting="1m",
            summary="{{ $value }} amounts have been in transit for longer than Stripe takes to settle",
        ),
        Alert(
            name="BatzenUnclassified",
            severity=Severity.TICKET,
            expr='max(batzen_reconciliation_findings{kind="UNCLASSIFIED"}) > 0',
            lasting="1m",
            summary="{{ $value }} balance transactions are of a type that no rule books",
        ),
        Alert(
            # Every night one is due; six hours are for the run itself and for a Stripe that is away.
            name="BatzenReconciliationOld",
            severity=Severity.TICKET,
            expr="max(batzen_reconciliation_age_seconds) > 108000",
            lasting="5m",
            summary="Nothing was compared with Stripe to its end for {{ $value | humanizeDuration }}",
        ),
        Alert(
            # Read to its end every ten minutes; after an outage the first reading takes its turn.
            name="BatzenBalanceReadingBehind",
            severity=Severity.TICKET,
            expr="max(batzen_balance_read_age_seconds) > 3600",
            lasting="10m",
            summary="The balance at Stripe has not been read to its end for {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenDisputeDue",
            severity=Severity.TICKET,
            expr="min(batzen_dispute_due_timestamp_seconds > 0) - time() < 259200",
            lasting="5m",
            summary="An answer to a dispute is due within {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenDisputeDueToday",
            severity=Severity.PAGE,
            expr="min(batzen_dispute_due_timestamp_seconds > 0) - time() < 86400",
            lasting="5m",
            summary="An answer to a dispute is due within {{ $value | humanizeDuration }}, and then it is lost",
        ),
        Alert(
            # What is paid later by its terms waits for its day, and is counted from when the money came: once the day
            # has come an hour is enough for all that goes by itself.
            name="BatzenSettlementWaits",
            severity=Severity.TICKET,
            expr='max by (reason) (batzen_settlements_waiting_oldest_seconds{reason!="PAY_TIME"}) > 86400',
            lasting="1h",
            summary="A seller waits for a part for {{ $value | humanizeDuration }}: {{ $labels.reason }}",
        ),
        Alert(
            # Stripe and the next tries have their time before somebody looks.
            name="BatzenReceivablesOpen",
            severity=Severity.TICKET,
            expr="max(batzen_receivables_open) > 0",
            lasting="1h",
            summary="{{ $value }} parts that sellers are to give back are not covered by their balances",
        ),
    ],
)

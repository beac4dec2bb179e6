"""Records of payments: whether what each service keeps of the same payment agrees."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

OF_MONEY: Final = (
    "LEDGER_.*|REFUNDED_BEYOND|COLLECTION|AMOUNTS|BOOKING_CLAIM|PLAN_MISSING|STATUS_MISSING|MIRROR_MISSING"
)
"""Checks whose findings say that money may be told, booked or taken wrongly, or that nobody moves a payment."""

GROUP: Final = Group(
    name="batzen-records",
    rules=[
        Alert(
            name="BatzenRecordsDisagreeOnMoney",
            severity=Severity.PAGE,
            expr=f'max by (check) (batzen_diagnosis_disagreements{{check=~"{OF_MONEY}"}}) > 0',
            lasting="1m",
            summary="{{ $value }} payments have records that disagree about money: {{ $labels.check }}",
        ),
        Alert(
            name="BatzenRecordsDisagree",
            severity=Severity.TICKET,
            expr=f'max by (check) (batzen_diagnosis_disagreements{{check!~"{OF_MONEY}"}}) > 0',
            lasting="1m",
            summary="{{ $value }} payments have records that disagree: {{ $labels.check }}",
        ),
        Alert(
            # A round is due every hour, and takes minutes for tens of thousands of payments.
            name="BatzenDiagnosisOld",
            severity=Severity.TICKET,
            expr="max(batzen_diagnosis_age_seconds) > 14400",
            lasting="5m",
            summary="Recent payments were not looked through to the end for {{ $value | humanizeDuration }}",
        ),
    ],
)

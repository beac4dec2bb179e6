"""Calls of the services: how many fail, and how long the others take."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity


def _p95(job: str, method: str) -> str:
    bucket = f'batzen_rpc_duration_seconds_bucket{{job="{job}",method="{method}"}}'
    return f"histogram_quantile(0.95, sum by (le) (rate({bucket}[5m])))"


TAKES_PAYMENTS: Final = 'job="orchestrator",method=~"OrchestratorService/(StartPayment|SubmitPayment)"'

FAILED: Final = '{code=~"UNAVAILABLE|INTERNAL|UNKNOWN|DATA_LOSS"}'
"""By a fault of the suite's own; every other code is an answer."""

GROUP: Final = Group(
    name="batzen-calls",
    rules=[
        Alert(
            name="BatzenCallsFail",
            severity=Severity.TICKET,
            expr=f"sum by (job) (increase(batzen_rpc_requests_total{FAILED}[1m])) > 5",
            lasting="2m",
            summary='{{ $labels.job }}: {{ $value | printf "%.0f" }} calls a minute fail',
        ),
        Alert(
            # A deadline is the caller's choice, so no objective counts it; that most of them pass is a hang of ours.
            name="BatzenCallsTimeOut",
            severity=Severity.PAGE,
            expr=f"""sum(increase(batzen_rpc_requests_total{{{TAKES_PAYMENTS},code="DEADLINE_EXCEEDED"}}[5m])) > 5
and sum(increase(batzen_rpc_requests_total{{{TAKES_PAYMENTS},code="DEADLINE_EXCEEDED"}}[5m]))
  / sum(increase(batzen_rpc_requests_total{{{TAKES_PAYMENTS}}}[5m])) > 0.5""",
            lasting="2m",
            summary='{{ $value | printf "%.0f" }} starts and submits timed out in 5 minutes, more than were answered',
        ),
        Alert(
            name="BatzenStartSlow",
            severity=Severity.TICKET,
            expr=f"{_p95('orchestrator', 'OrchestratorService/StartPayment')} > 0.5",
            lasting="5m",
            summary="5 % of StartPayment take more than {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenStatusReadsSlow",
            severity=Severity.TICKET,
            expr=f"{_p95('status', 'StatusService/GetPayment')} > 0.1",
            lasting="5m",
            summary="5 % of GetPayment take more than {{ $value | humanizeDuration }}",
        ),
    ],
)

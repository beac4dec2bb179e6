"""What browsers meet: pages, REST and streams of the two fronts."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

GROUP: Final = Group(
    name="batzen-fronts",
    rules=[
        Alert(
            name="BatzenFrontErrors",
            severity=Severity.PAGE,
            expr="""sum by (job) (rate(batzen_browser_requests_total{status="5xx"}[5m]))
  / sum by (job) (rate(batzen_browser_requests_total[5m])) > 0.02
and sum by (job) (increase(batzen_browser_requests_total{status="5xx"}[5m])) > 5""",
            lasting="2m",
            summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.job }} fail",
        ),
        Alert(
            name="BatzenFrontSlow",
            severity=Severity.TICKET,
            expr="""histogram_quantile(0.95, sum by (job, le) (
  rate(batzen_browser_request_seconds_bucket{purpose=~"page|rest"}[5m])
)) > 1""",
            lasting="5m",
            summary="5 % of the answers of {{ $labels.job }} begin only after {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenFrontStreamsCut",
            severity=Severity.TICKET,
            expr="""sum by (job) (rate(batzen_browser_streams_ended_total{why=~"slow|trouble|refused"}[15m]))
  / sum by (job) (rate(batzen_browser_streams_ended_total{why!="draining"}[15m])) > 0.05
and sum by (job) (increase(batzen_browser_streams_ended_total[15m])) > 20""",
            lasting="2m",
            summary="{{ $value | humanizePercentage }} of the streams of {{ $labels.job }} that ended were cut by us",
        ),
        Alert(
            name="BatzenFrontTellsLate",
            severity=Severity.TICKET,
            expr="""histogram_quantile(0.95, sum by (job, le) (
  rate(batzen_browser_transition_seconds_bucket[5m])
)) > 2""",
            lasting="5m",
            summary="5 % of what happens is told to browsers of {{ $labels.job }} {{ $value | humanizeDuration }} late",
        ),
        Alert(
            name="BatzenFrontFull",
            severity=Severity.TICKET,
            expr='sum by (job) (increase(batzen_browser_streams_refused_total{limit="process"}[5m])) > 0',
            lasting="1m",
            summary="A process of {{ $labels.job }} has as many streams as it takes, and refuses browsers",
        ),
    ],
)

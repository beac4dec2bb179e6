"""Watches and feeds, which status serves."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

GROUP: Final = Group(
    name="batzen-streams",
    rules=[
        Alert(
            name="BatzenWatchesUnstable",
            severity=Severity.TICKET,
            expr="""sum(rate(batzen_watch_ends_total{reason=~"WATCH_OVERFLOW|DEPENDENCY_UNAVAILABLE|other"}[15m]))
  / sum(rate(batzen_watch_ends_total[15m])) > 0.05
and sum(increase(batzen_watch_ends_total[15m])) > 20""",
            lasting="5m",
            summary="{{ $value | humanizePercentage }} of the streams that ended were cut off by us",
        ),
        Alert(
            name="BatzenWatchesOpenSlowly",
            severity=Severity.TICKET,
            expr="histogram_quantile(0.95, sum by (le) (rate(batzen_watch_first_update_seconds_bucket[5m]))) > 0.3",
            lasting="5m",
            summary="5 % of the watches see their payment only after {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenStateUpdatesSlow",
            severity=Severity.TICKET,
            expr="histogram_quantile(0.95, sum by (le) (rate(batzen_watch_lag_seconds_bucket[5m]))) > 0.05",
            lasting="5m",
            summary="5 % of the transitions reach their watchers only after {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenFeedBehind",
            severity=Severity.TICKET,
            expr="max(batzen_feed_behind_seconds) > 60",
            lasting="2m",
            summary="Feeds of status are behind by {{ $value | humanizeDuration }}",
        ),
    ],
)

"""What any process of ours needs to run: replicas, a database, memory, certificates, and to be seen."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import JOBS, PROCESSES, Alert, Group, Severity

MEMORY_MIB_MAX: Final = {"gateway": 384, "orchestrator": 384, "pricing": 256, "status": 768, "bff": 512, "console": 512}
"""The limits of the manifests, at which a process is killed."""
MEMORY_SHARE: Final = 0.85
"""Of its limit: little enough that somebody may still look why."""

GROUP: Final = Group(
    name="batzen-process",
    rules=[
        Alert(
            name="BatzenServiceUnseen",
            severity=Severity.PAGE,
            expr="\nor ".join(f'absent(batzen_build_info{{job="{service}"}})' for service in PROCESSES),
            lasting="2m",
            summary="{{ $labels.job }} is not scraped at all: nothing else is known of it",
        ),
        Alert(
            name="BatzenReplicaUnseen",
            severity=Severity.TICKET,
            expr=f"up{{{JOBS}}} == 0",
            lasting="5m",
            summary="{{ $labels.job }} {{ $labels.instance }} does not answer its scrape",
        ),
        Alert(
            name="BatzenNoReplicaReady",
            severity=Severity.PAGE,
            expr="max by (job) (batzen_ready) == 0",
            lasting="1m",
            summary="No replica of {{ $labels.job }} is ready",
        ),
        Alert(
            name="BatzenReplicaNotReady",
            severity=Severity.TICKET,
            expr="batzen_ready == 0",
            lasting="5m",
            summary="{{ $labels.job }} {{ $labels.instance }} is not ready for 5 minutes",
        ),
        Alert(
            name="BatzenDatabaseAway",
            severity=Severity.PAGE,
            # The window outlasts the outage by a minute, so two are one minute of it: a failover of 20 s wakes nobody.
            expr="sum by (job) (increase(batzen_database_unavailable_total[1m])) > 0",
            lasting="2m",
            summary="{{ $labels.job }} does not reach its database for a minute",
        ),
        Alert(
            name="BatzenConnectionsScarce",
            severity=Severity.TICKET,
            expr='batzen_database_connections{state="waiting"} > 8',
            lasting="2m",
            summary="{{ $labels.job }} {{ $labels.instance }}: {{ $value }} wait for a database connection",
        ),
        Alert(
            name="BatzenFiguresOld",
            severity=Severity.TICKET,
            expr="time() - max by (job) (batzen_sample_timestamp_seconds) > 120",
            lasting="1m",
            summary="{{ $labels.job }} last looked up what waits {{ $value | humanizeDuration }} ago",
        ),
        Alert(
            name="BatzenBackgroundTaskFails",
            severity=Severity.TICKET,
            expr="sum by (job, task) (increase(batzen_background_failures_total[15m])) > 2.5",
            lasting="0s",
            summary='{{ $labels.job }}: {{ $labels.task }} failed {{ $value | printf "%.0f" }} times in 15 minutes',
        ),
        Alert(
            name="BatzenRestarts",
            severity=Severity.TICKET,
            expr=f"changes(process_start_time_seconds{{{JOBS}}}[30m]) > 2",
            lasting="0s",
            summary="{{ $labels.job }} {{ $labels.instance }} started {{ $value }} times in 30 minutes",
        ),
        Alert(
            name="BatzenEventLoopLags",
            severity=Severity.TICKET,
            expr="""histogram_quantile(0.99, sum by (job, instance, le) (
  rate(batzen_event_loop_lag_seconds_bucket[5m]))) > 0.1""",
            lasting="5m",
            summary="{{ $labels.job }} {{ $labels.instance }} turns its loop {{ $value | humanizeDuration }} late",
        ),
        Alert(
            name="BatzenMemoryHigh",
            severity=Severity.TICKET,
            expr="\nor ".join(
                f'process_resident_memory_bytes{{job="{service}"}} > {int(mib * 1024**2 * MEMORY_SHARE)}'
                for service, mib in MEMORY_MIB_MAX.items()
            ),
            lasting="10m",
            summary="{{ $labels.job }} {{ $labels.instance }} holds {{ $value | humanize1024 }}B",
        ),
        Alert(
            name="BatzenLogLinesDropped",
            severity=Severity.TICKET,
            expr="sum by (job, instance) (increase(batzen_log_lines_dropped_total[15m])) > 0",
            lasting="0s",
            summary='{{ $labels.job }} {{ $labels.instance }} dropped {{ $value | printf "%.0f" }} lines of its log',
        ),
        Alert(
            name="BatzenTelemetryLost",
            severity=Severity.INFO,
            expr="""sum by (job) (increase(batzen_trace_spans_dropped_total[15m]))
  + sum by (job) (increase(batzen_error_reports_dropped_total[15m])) > 0""",
            lasting="0s",
            summary='{{ $labels.job }} lost {{ $value | printf "%.0f" }} spans or reports of errors',
        ),
        Alert(
            name="BatzenCertificateExpires",
            severity=Severity.PAGE,
            expr="min by (job, instance) (batzen_certificate_expiry_timestamp_seconds > 0) - time() < 14400",
            lasting="5m",
            summary="{{ $labels.job }} {{ $labels.instance }}: its certificate ends in {{ $value | humanizeDuration }}",
        ),
        Alert(
            name="BatzenSecretUnfit",
            severity=Severity.TICKET,
            expr="max by (job, setting) (batzen_secret_unfit) > 0",
            lasting="5m",
            summary="{{ $labels.job }}: the file of {{ $labels.setting }} cannot be used, the value before is",
        ),
        Alert(
            name="BatzenVersionSkew",
            severity=Severity.TICKET,
            expr="count by (job) (count by (job, version, commit) (batzen_build_info)) > 1",
            lasting="1h",
            summary="{{ $labels.job }} runs {{ $value }} versions for an hour",
        ),
    ],
)

"""What a process says of itself to whoever operates it: figures, traces, reports of what nobody expected.

Figures: `metrics` declares and counts, `metrics_port` answers `GET /metrics`, `process_metrics` has the figures of all
processes of ours and `work_metrics` those of due work. What a service counts beside them stands in its `metrics.py`. A
figure is declared with all that its labels may say, so that nothing from outside makes new series. Books are kept in
tables and not here: figures begin anew with each process, and one that dies takes with it what it counted since it was
last asked.

Traces: `tracing`, and what it uses beside it.
"""

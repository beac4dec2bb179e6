"""What a process says of itself to whoever operates it: figures that are declared, bounded, and asked for over HTTP.

`metrics` declares and counts, `metrics_port` answers `GET /metrics`, `process_metrics` has the figures of every process
of ours and `work_metrics` those of its due work. What a service counts beside them stands in its own `metrics.py`.

A figure is declared with all that its labels may say, so that nothing which comes from outside makes new series. Books
are kept in tables and not here: figures begin anew with each process, and one that dies takes with it what it had
counted since it was last asked.
"""

"""What is watched: alerts, objectives, dashboards. `python -m deploy.observability --write` prints the files.

All is written here, in Python, and printed: rules as Prometheus' files (`rules/`) and as the PrometheusRule of the
Kubernetes component, dashboards as Grafana's JSON in the same component. Nothing here is imported by a service.
"""

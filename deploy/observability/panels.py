"""A dashboard as a value, and the JSON of Grafana that it is printed as."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

COLUMNS: Final = 24
"""Of Grafana's grid."""
HEIGHT: Final = 8
"""Of a panel, in rows of the grid."""
SCHEMA_VERSION: Final = 39
"""Of the JSON: Grafana 10's; a later Grafana brings it up to its own."""
RATE: Final = "$__rate_interval"
"""Grafana's word for the shortest window that four scrapes fall into."""
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}

Json = str | int | float | bool | None | Mapping[str, "Json"] | Sequence["Json"]


class Unit(StrEnum):
    """What an axis counts, in Grafana's words."""

    COUNT = "short"
    PER_SECOND = "cps"
    SECONDS = "s"
    SHARE = "percentunit"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One expression, and what its lines are called."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines over time."""

    title: str
    unit: Unit
    queries: Sequence[Query]
    limit: float | None = None
    """Where an alert stands, drawn as a line."""
    says: str = ""
    """What is read from it, where the title does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """What one looks at together."""

    uid: str
    title: str
    panels: Sequence[Panel]
    across: int = 3
    """Panels beside each other."""


def lines(title: str, unit: Unit, *queries: tuple[str, str], limit: float | None = None, says: str = "") -> Panel:
    """Return a panel of (expression, legend)."""
    made = [Query(expr=expr, legend=legend) for expr, legend in queries]
    return Panel(title=title, unit=unit, queries=made, limit=limit, says=says)


def quantiles(title: str, metric: str, *, by: str = "", matchers: str = "", limit: float | None = None) -> Panel:
    """Return a panel of the median and the 95th and 99th percentile of a histogram; by labels the 95th alone."""
    labels = f"le, {by}" if by else "le"
    selector = f"{metric}_bucket{{{matchers}}}" if matchers else f"{metric}_bucket"
    share = f"sum by ({labels}) (rate({selector}[{RATE}]))"
    names = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""
    shown = ((0.95, names),) if by else ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    queries = [(f"histogram_quantile({quantile}, {share})", legend) for quantile, legend in shown]
    return lines(title + (", p95" if by else ""), Unit.SECONDS, *queries, limit=limit)


def grafana(dashboard: Dashboard) -> str:
    """Return a dashboard as Grafana's JSON."""
    width = COLUMNS // dashboard.across
    panels = []
    for place, panel in enumerate(dashboard.panels):
        row, column = divmod(place, dashboard.across)
        position: dict[str, Json] = {"h": HEIGHT, "w": width, "x": column * width, "y": row * HEIGHT}
        panels.append({"id": place + 1, "gridPos": position, **_panel(panel)})
    tree: dict[str, Json] = {
        "uid": dashboard.uid,
        "title": f"Batzen: {dashboard.title}",
        "tags": ["batzen"],
        "timezone": "utc",
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "links": [{"type": "dashboards", "title": "Batzen", "tags": ["batzen"], "asDropdown": True, "keepTime": True}],
        "panels": panels,
    }
    return json.dumps(tree, indent=1) + "\n"


def _panel(panel: Panel) -> dict[str, Json]:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    custom: dict[str, Json] = {
        "drawStyle": "line",
        "fillOpacity": 5,
        "showPoints": "never",
        "thresholdsStyle": {"mode": "line" if panel.limit is not None else "off"},
    }
    defaults: dict[str, Json] = {
        "unit": panel.unit,
        "min": 0,
        "custom": custom,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": query.expr, "legendFormat": query.legend}
            for place, query in enumerate(panel.queries)
        ],
    }

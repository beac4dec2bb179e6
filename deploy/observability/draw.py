"""Draws the dashboards as a running Prometheus answers them, for the eye: Grafana itself is not needed.

    .batzen/tools/pictures/bin/python -m deploy.observability.draw URL FOLDER [SECONDS [WINDOW]]

Writes `FOLDER/<dashboard>.png` over the last SECONDS (600 unless given); WINDOW stands for
Grafana's rate interval (1m).
Needs matplotlib, which `deploy/tools/pictures.txt` pins, in an environment of its own.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot

from deploy.observability.dashboards import DASHBOARDS
from deploy.observability.panels import RATE, Dashboard, Panel

POINTS: Final = 200
"""On a line."""
LEGENDS_MAX: Final = 8
"""Shown of one panel."""
TIMEOUT_S: Final = 30.0


def series_of(url: str, expr: str, *, seconds: float) -> list[dict[str, Any]]:
    """Return what Prometheus says of an expression over the last seconds."""
    now = time.time()
    asked = {"query": expr, "start": now - seconds, "end": now, "step": max(seconds / POINTS, 0.25)}
    where = f"{url}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(where, timeout=TIMEOUT_S) as answer:  # noqa: S310 the address that a person gave
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def draw(dashboard: Dashboard, url: str, folder: Path, *, seconds: float, window: str) -> None:
    """Draw one dashboard."""
    rows = -(-len(dashboard.panels) // dashboard.across)
    figure, axes = pyplot.subplots(rows, dashboard.across, figsize=(7 * dashboard.across, 3.6 * rows), squeeze=False)
    for axis in axes.flat[len(dashboard.panels) :]:
        axis.axis("off")
    for axis, panel in zip(axes.flat, dashboard.panels, strict=False):
        _draw_panel(axis, panel, url, seconds=seconds, window=window)
    figure.suptitle(f"Batzen: {dashboard.title}")
    figure.tight_layout()
    figure.savefig(folder / f"{dashboard.uid}.png", dpi=70)
    pyplot.close(figure)


def _draw_panel(axis: Any, panel: Panel, url: str, *, seconds: float, window: str) -> None:
    shown = 0
    for query in panel.queries:
        for one in series_of(url, query.expr.replace(RATE, window), seconds=seconds):
            legend = query.legend
            for label, value in one["metric"].items():
                legend = legend.replace(f"{{{{{label}}}}}", value)
            times = [float(at) - time.time() for at, _ in one["values"]]
            named = legend if shown < LEGENDS_MAX else None
            axis.plot(times, [float(value) for _, value in one["values"]], label=named, linewidth=1)
            shown += 1
    if panel.limit is not None and panel.limit < axis.get_ylim()[1]:  # as Grafana: its lines scale an axis
        axis.axhline(panel.limit, color="red", linewidth=0.8, linestyle=":")
    axis.set_title(f"{panel.title} [{panel.unit.name.lower()}]", fontsize=10)
    axis.set_ylim(bottom=0)
    axis.grid(visible=True, alpha=0.3)
    if shown:
        axis.legend(fontsize=7, loc="best")


def main(arguments: list[str]) -> None:
    """Draw all dashboards."""
    if not 2 <= len(arguments) <= 4:
        raise SystemExit(__doc__)
    url, folder, *rest = arguments
    Path(folder).mkdir(parents=True, exist_ok=True)
    seconds = float(rest[0]) if rest else 600.0
    window = rest[1] if len(rest) > 1 else "1m"
    for dashboard in DASHBOARDS:
        draw(dashboard, url, Path(folder), seconds=seconds, window=window)


if __name__ == "__main__":
    main(sys.argv[1:])

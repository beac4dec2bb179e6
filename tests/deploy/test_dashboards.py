"""Dashboards show what is declared in code, each panel once, and fit Grafana's grid."""

from __future__ import annotations

import json
from typing import Final

import pytest

from deploy.observability.dashboards import DASHBOARDS
from deploy.observability.panels import COLUMNS, Dashboard, Query, grafana
from tests.deploy.expressions import grouping, problems
from tests.deploy.test_rules import RECORDED

QUERIES: Final = {
    f"{board.uid}: {panel.title}: {query.legend}": query
    for board in DASHBOARDS
    for panel in board.panels
    for query in panel.queries
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=list(QUERIES))
def test_a_panel_shows_what_is_declared_in_code(query: Query) -> None:
    assert problems(query.expr, recorded=RECORDED) == []
    named = {part.split("}}")[0] for part in query.legend.split("{{")[1:]}
    assert named <= grouping(query.expr) | {"job", "instance", "slo"}


@pytest.mark.parametrize("board", DASHBOARDS, ids=[board.uid for board in DASHBOARDS])
def test_panels_have_a_place_of_their_own(board: Dashboard) -> None:
    panels = json.loads(grafana(board))["panels"]

    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels) == len({panel["title"] for panel in panels})
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= COLUMNS for panel in panels)

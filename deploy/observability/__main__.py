"""Prints what is watched into files: `--write` writes them, `--check` fails if one differs from the code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.observability import alerts, slos
from deploy.observability.dashboards import DASHBOARDS
from deploy.observability.panels import grafana
from deploy.observability.rule import Group, Node, rule_file, yaml

HOME: Final = Path(__file__).parent
COMPONENT: Final = HOME.parent / "kubernetes/components/observability"
PRINTED_BY: Final = (
    "# Printed by `python -m deploy.observability --write`; the rules stand in deploy/observability/*.py.\n"
)
GROUPS: Final[tuple[Group, ...]] = (*slos.GROUPS, *alerts.GROUPS)


def files() -> Mapping[Path, str]:
    """Return what is printed, by its path."""
    rules: dict[Path, Node] = {
        HOME / "rules/slos.yaml": rule_file(slos.GROUPS),
        HOME / "rules/alerts.yaml": rule_file(alerts.GROUPS),
        COMPONENT / "prometheus-rule.yaml": {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "batzen"},
            "spec": rule_file(GROUPS),
        },
    }
    boards = {COMPONENT / f"dashboards/{board.uid}.json": grafana(board) for board in DASHBOARDS}
    return {path: PRINTED_BY + yaml(tree) for path, tree in rules.items()} | boards


def main(arguments: list[str]) -> None:
    """Check or write all files."""
    if arguments not in (["--check"], ["--write"]):
        raise SystemExit(__doc__)
    behind = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    if behind and arguments == ["--check"]:
        names = ", ".join(path.name for path in behind)
        raise SystemExit(f"{names}: not what the code says; run `python -m deploy.observability --write`")
    for path, text in behind.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Rules in promtool: what a case expects, and faults planted into a rule, each of which some case has to notice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.observability.rule import Alert, Group, Recording, rule_file, yaml
from tests.deploy.alert_cases import Case

TOOLS: Final = Path(__file__).parents[2] / ".batzen/tools/usr/bin"
INTERVALS: Final = {"BatzenBudgetBurnsFast": "150s", "BatzenBudgetBurnsSlowly": "30m"}
"""Between two samples, where the windows are so long that many of them would take promtool minutes."""
OF_A_THRESHOLD: Final = 1.5
"""How far a planted fault moves it, up and down."""
OF_A_SMALL_NUMBER: Final = 2
"""The same, where half as much more would be the next whole number."""
SMALL: Final = 3
FAR: Final = "1000000"
COMPARISON: Final = re.compile(r"(?P<operator>[<>]=?|==) (?P<number>[0-9.]+)")
UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def tool(name: str) -> str:
    """Return the path of a program of Prometheus', or skip the test."""
    found = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    if found is None:
        pytest.skip(f"{name} is not on this machine: `deploy/tools/prometheus.sh` fetches it, or `apt install`")
    return found


def checked(folder: Path, groups: Sequence[Group]) -> None:
    """Have promtool check the rules."""
    path = folder / "rules.yaml"
    path.write_text(yaml(rule_file(groups)))
    done = subprocess.run([tool("promtool"), "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def verdict(folder: Path, groups: Sequence[Group], alert: Alert, cases: Sequence[Case]) -> str:
    """Return what promtool finds wrong in the cases of an alert; nothing if all is as expected."""
    (folder / "rules.yaml").write_text(yaml(rule_file(groups)))
    tests = [_test(alert, case) for case in cases]
    interval = INTERVALS.get(alert.name, "15s")
    for test in tests:
        test["interval"] = interval
    content = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": interval,
        "group_eval_order": [
            group.name for group in groups
        ],  # any order otherwise, and what is recorded comes too late
        "tests": tests,
    }
    (folder / "cases.yaml").write_text(json.dumps(content))
    done = subprocess.run(
        [tool("promtool"), "test", "rules", folder / "cases.yaml"], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _test(alert: Alert, case: Case) -> dict[str, Any]:
    firing = f'sum(ALERTS{{alertname="{alert.name}",alertstate="firing"}}) > bool 0'
    some = [{"labels": "{}", "value": 1}]
    looks = [{"expr": firing, "eval_time": case.at, "exp_samples": some if case.fires else []}]
    lasting_s = seconds(alert.lasting)
    if case.fires and lasting_s:
        before_s = case.begins_s or lasting_s - 1
        looks.append({"expr": firing, "eval_time": f"{before_s}s", "exp_samples": []})
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"input_series": series, "promql_expr_test": looks}


def seconds(duration: str) -> int:
    """Return a duration of Prometheus' in seconds."""
    return sum(int(number) * UNITS_S[unit] for number, unit in re.findall(r"(\d+)([smhd])", duration))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An alert with one fault."""

    what: str
    alert: Alert
    is_deaf: bool
    """It may only fire less than it should, which the cases notice in which it fires; else too much."""


def faults(alert: Alert) -> Iterator[Fault]:
    """Yield the alert with one fault each: thresholds moved either way, and it lasts another time."""
    for found in COMPARISON.finditer(alert.expr):
        lower, higher = _moved(found["operator"], found["number"])
        is_upper_bound = found["operator"].startswith("<")
        for wrong, is_deaf in ((lower, is_upper_bound), (higher, not is_upper_bound)):
            expr = f"{alert.expr[: found.start()]}{wrong}{alert.expr[found.end() :]}"
            yield Fault(what=f"{found[0]} is {wrong}", alert=replace(alert, expr=expr), is_deaf=is_deaf)
    if seconds(alert.lasting):
        yield Fault(
            what="fires at once", alert=replace(alert, lasting="0s"), is_deaf=True
        )  # a case looks before its time
        tenfold = f"{seconds(alert.lasting) * 10}s"
        yield Fault(what="lasts ten times as long", alert=replace(alert, lasting=tenfold), is_deaf=True)


def _moved(operator: str, number: str) -> tuple[str, str]:
    """Return the comparison that holds for more values above the number, and the one that holds for fewer."""
    value = float(number)
    if value:
        factor = OF_A_SMALL_NUMBER if value <= SMALL and value.is_integer() else OF_A_THRESHOLD
        return f"{operator} {value / factor:g}", f"{operator} {value * factor:g}"
    if operator == "==":
        return ">= 0", f"== {FAR}"
    return f"{operator}= 0", f"{operator} {FAR}"


def with_rule(groups: Sequence[Group], wrong: Alert, *, objective: str = "payment-calls") -> list[Group]:
    """Return the rules that an alert needs, with another one in its place; of the objectives one is enough."""
    kept = []
    for group in groups:
        rules = [
            wrong if isinstance(rule, Alert) else rule
            for rule in group.rules
            if (_serves(rule, wrong, objective) if isinstance(rule, Recording) else rule.name == wrong.name)
        ]
        if rules:
            kept.append(Group(name=group.name, rules=rules))
    return kept


def _serves(recording: Recording, alert: Alert, objective: str) -> bool:
    return recording.record in alert.expr and recording.labels["slo"] == objective

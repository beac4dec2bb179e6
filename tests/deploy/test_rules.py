"""Rules fire when they should: each alert has series that fire it and series that do not; no fault goes unnoticed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from deploy.observability import __main__ as printing
from deploy.observability.alerts.process import MEMORY_MIB_MAX
from deploy.observability.rule import PROCESSES, RUNBOOK, Alert, Group, Recording
from deploy.observability.slos import OBJECTIVES
from tests.deploy.alert_cases import CASES
from tests.deploy.alert_cases import OBJECTIVES as OBJECTIVE_CASES
from tests.deploy.expressions import grouping, problems
from tests.deploy.promtool import checked, faults, verdict, with_rule

ROOT: Final = Path(__file__).parents[2]
RULES: Final = [rule for group in printing.GROUPS for rule in group.rules]
RECORDED: Final = frozenset(rule.record for rule in RULES if isinstance(rule, Recording))
ALERTS: Final = {alert.name: alert for group in printing.GROUPS for alert in group.alerts}
MUTATIONS_MIN: Final = 100


def test_the_files_are_what_the_code_prints() -> None:
    printing.main(["--check"])


def test_each_alert_has_cases_in_which_it_fires_and_in_which_it_does_not() -> None:
    assert list(CASES) == list(ALERTS)
    for name, cases in CASES.items():
        assert {case.fires for case in cases} == {True, False}, name


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert() -> None:
    headings = re.findall(r"^### (Batzen\w+)$", (ROOT / RUNBOOK).read_text(), re.MULTILINE)

    assert sorted(headings) == sorted(ALERTS)
    assert len({alert.anchor for alert in ALERTS.values()}) == len(ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=[getattr(rule, "name", None) or rule.record for rule in RULES])
def test_a_rule_reads_what_is_declared_in_code(rule: Alert | Recording) -> None:
    assert problems(rule.expr, recorded=RECORDED) == []
    said = re.findall(r"\$labels\.(\w+)", rule.summary) if isinstance(rule, Alert) else []
    assert set(said) <= grouping(rule.expr) | {"job", "instance", "slo"}


@pytest.mark.parametrize(
    ("expr", "problem"),
    [
        ("sum(rate(batzen_rpc_request_total[5m]))", "batzen_rpc_request_total is declared by no service"),
        ('batzen_ready{servise="a"}', "batzen_ready has no label servise"),
        ('batzen_payments_ended_total{state="PAID"}', "batzen_payments_ended_total never says state=PAID"),
        ('batzen_payments_ended_total{state=~"FAILED|PAID"}', "batzen_payments_ended_total never says state=PAID"),
        (
            'batzen_rpc_requests_total{method=~"StatusService/(GetPayment|GetPaiment)"}',
            "never says method=StatusService/GetPaiment",
        ),
        ('batzen_watch_lag_seconds_bucket{le="1.5"}', "batzen_watch_lag_seconds never says le=1.5"),
        ('batzen_watch_lag_seconds_count{job="pricing"}', "declared by no service that it is read from"),
        ("batzen_watch_lag_seconds", "declared by no service"),
        ("sum by (kind) (batzen_ready)", "kind is a label of nothing"),
        ("vector(1)", "it reads nothing"),
    ],
)
def test_what_is_not_declared_is_found(expr: str, problem: str) -> None:
    assert any(problem in found for found in problems(expr))


@pytest.mark.parametrize("service", PROCESSES)
def test_memory_is_told_before_the_limit_of_the_manifest(service: str) -> None:
    manifest = (ROOT / f"deploy/kubernetes/base/{service}/deployment.yaml").read_text()
    limit = re.search(r"limits:\n(?:\s+.*\n)*?\s+memory: (\d+)Mi", manifest)

    assert limit is not None
    assert int(limit[1]) == MEMORY_MIB_MAX[service]


@pytest.mark.deploy
def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    checked(tmp_path, printing.GROUPS)


@pytest.mark.deploy
@pytest.mark.parametrize("alert", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_fires_when_it_should_and_each_fault_in_it_is_noticed(alert: Alert, tmp_path: Path) -> None:
    cases = CASES[alert.name]
    assert verdict(tmp_path, with_rule(printing.GROUPS, alert), alert, cases) == ""

    unnoticed = []
    for fault in faults(alert):
        telling = [case for case in cases if case.fires == fault.is_deaf]
        if not verdict(tmp_path, with_rule(printing.GROUPS, fault.alert), alert, telling):
            unnoticed.append(fault.what)

    assert unnoticed == []


@pytest.mark.deploy
@pytest.mark.parametrize("objective", [objective.name for objective in OBJECTIVES])
def test_an_objective_has_the_budget_that_it_names(objective: str, tmp_path: Path) -> None:
    alert, cases = ALERTS["BatzenBudgetBurnsFast"], OBJECTIVE_CASES[objective]

    def judge(goal_missed: float) -> str:
        groups = with_rule(printing.GROUPS, alert, objective=objective)
        rules = [
            replace(rule, expr=f"({rule.expr}) * {goal_missed}")
            if isinstance(rule, Recording) and rule.record.startswith("batzen:slo_burn_rate")
            else rule
            for group in groups
            for rule in group.rules
        ]
        return verdict(tmp_path, [Group(name="objective", rules=rules)], alert, cases)

    assert judge(1) == ""
    assert judge(2)
    assert judge(0.3)


def test_there_are_faults_to_notice() -> None:
    assert sum(len(list(faults(alert))) for alert in ALERTS.values()) >= MUTATIONS_MIN

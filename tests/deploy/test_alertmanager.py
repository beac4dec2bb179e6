"""The example of a configuration of Alertmanager: every alert of each severity goes to somebody."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from deploy.observability.rule import Severity
from tests.deploy.promtool import tool
from tests.deploy.test_rules import ALERTS

CONFIG: Final = Path(__file__).parents[2] / "deploy/observability/alertmanager.yaml"
RECEIVERS: Final = {Severity.PAGE: "pager", Severity.TICKET: "tickets", Severity.INFO: "channel"}


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("amtool"), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.deploy
def test_amtool_takes_the_configuration() -> None:
    checked = amtool("check-config", str(CONFIG))

    assert checked.returncode == 0, checked.stderr
    assert "3 receivers" in checked.stdout


@pytest.mark.deploy
@pytest.mark.parametrize("severity", Severity)
def test_an_alert_goes_to_whom_its_severity_means(severity: Severity) -> None:
    def goes_to(receiver: str) -> bool:
        routes = ("config", "routes", "test", f"--config.file={CONFIG}", f"--verify.receivers={receiver}")
        return amtool(*routes, f"severity={severity}", "alertname=Any").returncode == 0

    assert [receiver for receiver in RECEIVERS.values() if goes_to(receiver)] == [RECEIVERS[severity]]


def test_what_is_left_out_beside_another_is_an_alert() -> None:
    named = {name for line in CONFIG.read_text().splitlines() if "matchers" in line for name in line.split('"')}
    names = {name for alternatives in named for name in alternatives.split("|") if name.startswith("Batzen")}

    assert names
    assert names <= set(ALERTS)

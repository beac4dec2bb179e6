"""Where every tool has to be there (BATZEN_BROWSER=required, as in CI), a test that is skipped for want of one fails.

Elsewhere the run's last lines say which tests were skipped, and how the tool is got.
"""

from __future__ import annotations

import os
import re
from typing import Final

import pytest

REQUIRED: Final = os.environ.get("BATZEN_BROWSER") == "required"
_MISSING: Final = re.compile(
    r"\bno (Chromium|npm|axe-core|pgbouncer|lighthouse|tsc)\b|is not on this machine|missing: on Debian"
)


def wants_a_tool(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Return why a test was skipped if it wanted a tool that is not there."""
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return None
    reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    return reason if _MISSING.search(reason) else None


class MissingTools:
    """Collects what was skipped for want of a tool."""

    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reason = wants_a_tool(report)
        if reason is not None:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.reasons and REQUIRED and not hasattr(session.config, "workeroutput"):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for reason, count in self.reasons.items():
            line = f"{count} skipped: {reason}"
            terminalreporter.write_line(f"{line} (and it has to be there)" if REQUIRED else line, red=REQUIRED)

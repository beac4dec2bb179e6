"""With `--repeat-failures`, as in CI: few failures of a run are run again, alone, and each has to pass three times.

What fails by itself fails here, too, for the fault that it shows is there each time. What failed for having had a
machine's worst moment passes, and is named at the end: it is a fault of the test, or a rare one of the code, and to be
mended. Without the option a failure is a failure.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

FAILURES_MAX: Final = 3
"""Of a run: more have a cause in common, and are not repeated."""
REPEATS: Final = 3
REPEAT_TIMEOUT_S: Final = 600.0
"""Of all that failed, once."""


class Repeated:
    """Judges a run by what fails again."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._is_unsteady = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput") or session.exitstatus != pytest.ExitCode.TESTS_FAILED:
            return
        if 0 < len(self.failed) <= FAILURES_MAX and all(_passes(session, self.failed) for _ in range(REPEATS)):
            self._is_unsteady = True
            session.exitstatus = pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._is_unsteady:
            terminalreporter.write_line(f"Failed among all, and passed {REPEATS} times alone; to be mended:", red=True)
            for nodeid in self.failed:
                terminalreporter.write_line(f"  {nodeid}", red=True)


def _passes(session: pytest.Session, nodeids: list[str]) -> bool:
    """Run tests in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--rootdir", str(session.config.rootpath)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    try:
        done = subprocess.run(
            [*command, *nodeids], cwd=session.config.rootpath, env=environ, timeout=REPEAT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == pytest.ExitCode.OK

"""What the processes of a suite had to complain of: told with each failure, wherever the test is."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from local.environments import FRONTS, SERVICES

LINES_TOLD_MAX = 10
"""Of each process."""
CHARACTERS_TOLD_MAX = 1_000
"""Of a line; a traceback is cut in its middle, where it says least."""
QUIET = frozenset({"DEBUG", "INFO"})


class Complaints:
    """Adds them to the report of a failed test that had a suite."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        running = getattr(item, "funcargs", {}).get("suite")
        if report.failed and running is not None:
            told = [(f"complaints of {name}", complaints(running, name)) for name in (*SERVICES, *FRONTS)]
            report.sections += [(title, text) for title, text in told if text]
        return report


def complaints(suite: Any, process: str) -> str:
    """Return the last lines of a process's log that are not everyday ones."""
    log = suite.logs / f"{process}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []  # what fails may be the suite's end
    return "\n".join([_shortened(line) for line in lines if not _is_everyday(line)][-LINES_TOLD_MAX:])


def _shortened(line: str) -> str:
    half = CHARACTERS_TOLD_MAX // 2
    return line if len(line) <= CHARACTERS_TOLD_MAX else f"{line[:half]} … {line[-half:]}"


def _is_everyday(line: str) -> bool:
    try:
        return json.loads(line)["level"] in QUIET
    except (ValueError, KeyError, TypeError):
        return False

"""What is compiled ahead is what pytest would compile: it loads that, and rewrites nothing itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiling import ROOT, is_rewritten, rewritten

FAILS = "def test_the_assertion_is_told():\n    found = 2\n    assert found == 1\n"
REWRITES = "import _pytest.assertion.rewrite as r; r._rewrite_test = None; import pytest; pytest.main(['-q', '{}'])"


def test_pytest_loads_what_was_rewritten_ahead(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    file = tmp_path / "test_one.py"
    file.write_text(FAILS)
    rewritten(file, pytestconfig)

    done = subprocess.run(
        [sys.executable, "-c", REWRITES.format(file)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "assert 2 == 1" in done.stdout, done


def test_what_changed_is_rewritten_again_and_nothing_else(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    file = tmp_path / "test_one.py"
    file.write_text(FAILS)
    first = rewritten(file, pytestconfig).stat().st_ino
    again = rewritten(file, pytestconfig).stat().st_ino
    file.write_text(FAILS.replace("1", "3"))
    changed = rewritten(file, pytestconfig).stat().st_ino

    assert (again == first, changed == first) == (True, False)


def test_only_tests_and_their_conftest_are_rewritten(pytestconfig: pytest.Config) -> None:
    files = [ROOT / "tests" / name for name in ("conftest.py", "test_compiling.py", "eventually.py")]

    assert [is_rewritten(file, pytestconfig) for file in files] == [True, True, False]

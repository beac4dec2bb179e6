"""Few tests that failed among many run again, alone, where that is asked for; what fails by itself is not hidden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repeated import FAILURES_MAX, REPEATS

ROOT = Path(__file__).parents[1]
CONFTEST = """
from tests.repeated import Repeated

def pytest_addoption(parser):
    parser.addoption("--repeat-failures", action="store_true")

def pytest_configure(config):
    if config.getoption("--repeat-failures"):
        config.pluginmanager.register(Repeated())
"""
COUNTED = """
import pathlib
import pytest

@pytest.mark.parametrize("name", range({count}))
def test_it(name):
    ran = pathlib.Path(f"ran-{{name}}")
    times = len(ran.read_text()) if ran.exists() else 0
    ran.write_text("x" * (times + 1))
    assert times not in {fails_at}
"""


def run(folder: Path, *options: str, fails_at: set[int], count: int = 1) -> subprocess.CompletedProcess[str]:
    """Run tests that fail when they are run for the n-th time."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_counted.py").write_text(COUNTED.format(count=count, fails_at=fails_at or {-1}))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--rootdir={folder}", *options, str(folder)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "several"])
def test_a_failure_that_does_not_come_again_is_named_and_passes(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = run(tmp_path, "--repeat-failures", *options, fails_at={0})

    assert done.returncode == 0, done.stdout
    assert "passed 3 times alone; to be mended" in done.stdout
    assert "test_counted.py::test_it[0]" in done.stdout
    assert (tmp_path / "ran-0").read_text() == "x" * (1 + REPEATS)


@pytest.mark.parametrize("fails_at", [{0, 1}, {0, REPEATS}])
def test_one_that_comes_again_fails_the_run(tmp_path: Path, fails_at: set[int]) -> None:
    assert run(tmp_path, "--repeat-failures", fails_at=fails_at).returncode == 1


def test_many_are_not_repeated(tmp_path: Path) -> None:
    done = run(tmp_path, "--repeat-failures", fails_at={0}, count=FAILURES_MAX + 1)

    assert done.returncode == 1
    assert (tmp_path / "ran-0").read_text() == "x"


def test_a_failure_is_one_where_nobody_asks(tmp_path: Path) -> None:
    assert run(tmp_path, fails_at={0}).returncode == 1
    assert (tmp_path / "ran-0").read_text() == "x"

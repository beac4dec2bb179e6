"""Without a browser on the PATH tests of pages are skipped with a line that says how to get one; in CI they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.web

ROOT = Path(__file__).parents[2]
A_TEST = """
from tests.web.browser import needed

def test_a_page():
    needed()
"""


def run(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a test of a page with nothing on the PATH."""
    (folder / "test_page.py").write_text(A_TEST)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", f"--rootdir={folder}", str(folder)],
        cwd=folder,
        env={"PATH": str(folder), "PYTHONPATH": str(ROOT), "HOME": str(folder), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_without_a_browser_says_how_to_get_one(tmp_path: Path) -> None:
    done = run(tmp_path)

    assert done.returncode == 0, done.stdout
    assert "1 skipped: no Chromium: apt-get install --no-install-recommends chromium-headless-shell" in done.stdout


def test_where_a_browser_has_to_be_there_a_machine_without_fails(tmp_path: Path) -> None:
    done = run(tmp_path, BATZEN_BROWSER="required")

    assert done.returncode == 1
    assert "no Chromium" in done.stdout


@pytest.mark.parametrize("reason", ["no pgbouncer on this machine"])
def test_so_does_any_other_tool_that_is_missing(tmp_path: Path, reason: str) -> None:
    (tmp_path / "test_tool.py").write_text(
        f"import pytest\n\n@pytest.mark.skip(reason={reason!r})\ndef test_it(): ...\n"
    )

    assert run(tmp_path, BATZEN_BROWSER="required").returncode == 1
    assert "skipped: " + reason in run(tmp_path).stdout


def test_a_skip_for_another_reason_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "test_tool.py").write_text(
        "import pytest\n\n@pytest.mark.skip(reason='needs root')\ndef test_it(): ...\n"
    )
    (tmp_path / "test_page.py").write_text("")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", str(tmp_path / "test_tool.py")]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "BATZEN_BROWSER": "required"}

    assert subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, check=False).returncode == 0

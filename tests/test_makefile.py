"""Each target of the Makefile can be made where nothing was made before: what it needs has a rule."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]


def targets() -> list[str]:
    """Return the targets that people name."""
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return phony.split()


def made(makefile: str, target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Have make say what it would do, with nothing of the state folder there."""
    command = ["make", "--dry-run", "--file=-", f"STATE={folder}/none", target]
    return subprocess.run(command, cwd=ROOT, input=makefile, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", targets())
def test_what_a_target_needs_can_be_made(target: str, tmp_path: Path) -> None:
    done = made((ROOT / "Makefile").read_text(), target, tmp_path)

    assert done.returncode == 0, done.stderr


def test_a_rule_that_is_missing_is_found(tmp_path: Path) -> None:
    without = (ROOT / "Makefile").read_text().replace("$(STATE)/sbom.stamp:", "$(STATE)/other.stamp:")

    assert "No rule to make target" in made(without, "image", tmp_path).stderr

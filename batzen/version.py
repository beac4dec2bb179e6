"""Which version of the suite this is, and made from which commit: the same answer in a checkout, a wheel and an image.

The version stands here and nowhere else. The commit is written into this file where the code leaves its repository:
by `git archive`, which the image is built from (`export-subst` in .gitattributes), and by setup.py into a wheel.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

VERSION: Final = "0.1.0"
COMMIT: Final = "$Format:%H$"
UNKNOWN: Final = "unknown"
"""The commit of a copy that nobody wrote it into."""
GIT_S: Final = 10.0
"""Git answers in milliseconds; this is for a file system that hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What runs here."""

    version: str
    commit: str
    """40 hex digits, with `-dirty` behind them where a checkout has changes; or `UNKNOWN`."""

    def __str__(self) -> str:
        return f"{self.version} (commit {self.commit})"


@cache
def build() -> Build:
    """Return what runs here. In a checkout Git is asked, once a process."""
    return Build(version=VERSION, commit=checked_out(Path(__file__).parents[1]) if COMMIT.startswith("$") else COMMIT)


def checked_out(folder: Path) -> str:
    """Return the commit that a folder is a checkout of, or `UNKNOWN`."""
    git = shutil.which("git")
    if git is None or not (folder / ".git").exists():
        return UNKNOWN
    describe = [git, "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
    try:
        asked = subprocess.run(describe, cwd=folder, capture_output=True, text=True, check=False, timeout=GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return asked.stdout.strip() if asked.returncode == 0 else UNKNOWN


def stamped(source: str, commit: str) -> str:
    """Return the text of this file with the commit written into it."""
    return source.replace(COMMIT, commit)

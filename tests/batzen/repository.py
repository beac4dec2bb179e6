"""A folder made a repository of its own, for what asks Git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def git(folder: Path, *arguments: str) -> bytes:
    """Return what Git says."""
    program = shutil.which("git")
    assert program is not None
    return subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True).stdout


def commit_all(folder: Path) -> str:
    """Make the folder a repository if it is none, commit everything in it, and return the commit."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    nobody = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false")
    git(folder, *nobody, "commit", "--quiet", "--no-verify", "--message", "all")
    return git(folder, "rev-parse", "HEAD").decode().strip()

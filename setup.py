"""Writes the commit into the wheel; everything else about the package stands in pyproject.toml."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))  # a build does not look for modules here by itself

from batzen import version  # noqa: E402


class StampedBuild(build_py):
    """Builds as ever, then names the commit in the copy that goes into the wheel."""

    def run(self) -> None:
        """Build, and stamp."""
        super().run()
        copy = Path(self.build_lib) / "batzen" / "version.py"
        copy.write_text(version.stamped(copy.read_text(), version.build().commit))


setup(cmdclass={"build_py": StampedBuild})

"""Paths and commands as the person at the terminal would type them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def short(path: Path) -> str:
    """Return the path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def command_line() -> str:
    """Return how the command line is called with this interpreter."""
    return f"{short(Path(sys.executable))} -m batzen"


def logs_command(folder: Path) -> str:
    """Return the command that shows what the processes said."""
    return f"{command_line()} logs --folder {short(folder)}"

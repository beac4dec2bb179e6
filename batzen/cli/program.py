"""How the person at the terminal calls this command line, so that what it proposes can be typed."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def program() -> str:
    """Return `batzen`, or the interpreter with `-m batzen` where that was how it was called."""
    return as_module() if Path(sys.argv[0]).name == "__main__.py" else "batzen"


def as_module() -> str:
    """Return how the command line is called with this interpreter."""
    return f"{shlex.quote(short(Path(sys.executable)))} -m batzen"


def short(path: Path) -> str:
    """Return the path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative

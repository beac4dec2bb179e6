"""How the person at the terminal calls this command line, so that what it proposes can be typed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

import batzen

SCRIPT: Final = Path(".batzen/venv/bin/batzen")
"""The command of a checkout, made by `make`."""


def program() -> str:
    """Return what to type for `batzen`: in a checkout the one script there, however this process was called."""
    script = checkout_script()
    if script is None:
        return as_module() if Path(sys.argv[0]).name == "__main__.py" else "batzen"
    return called_here()


def called_here() -> str:
    """Return `batzen`, or the path of the checkout's script where the person's PATH does not lead to it."""
    script = checkout_script()
    return "batzen" if script is None or _is_on_path(script) else shlex.quote(short(script))


def checkout_script() -> Path | None:
    """Return the script of the checkout in which this package lies; None where there is none."""
    script = Path(batzen.__file__).resolve().parents[1] / SCRIPT
    return script if script.is_file() else None


def as_module() -> str:
    """Return how the command line is called with this interpreter."""
    return f"{shlex.quote(short(Path(sys.executable)))} -m batzen"


def short(path: Path) -> str:
    """Return the path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _is_on_path(script: Path) -> bool:
    """Whether `batzen` is that script in the person's shell; what `make` runs has another PATH than they."""
    found = None if "MAKELEVEL" in os.environ else shutil.which("batzen")
    return found is not None and Path(found).resolve() == script.resolve()

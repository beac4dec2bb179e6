"""`batzen`, as a person types it, in a process of its own: what a fork server of the tests runs for each command."""

from __future__ import annotations

import sys
from pathlib import Path

import batzen.client  # noqa: F401 what most commands import later, here once for all of them
from batzen.cli import app
from local import commands

if __name__ == "__main__":
    # The state of the checkout may be in use.
    commands.STATE = Path(sys.argv.pop(1))
    app.main()

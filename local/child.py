"""Runs a module as `python -m` does, and ends with the process that started it, however that ended.

Standard input is a pipe whose other end only our parent holds. When it closes, we ask ourselves to stop, as Kubernetes
would, and insist a little later. Imports next to nothing: it is in front of every process of the suite.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time
from typing import Final

GRACE_S: Final = 8.0
"""More than a server gives its last calls."""


def main(module: str, *arguments: str) -> None:
    """Run `module` with `arguments` in this process."""
    end_with_parent()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def end_with_parent() -> None:
    """From now on, stop this process when standard input ends."""
    threading.Thread(target=_wait_for_the_end, name="parent", daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])

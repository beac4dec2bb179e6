"""A PostgreSQL server that a test may stop and start again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.quick_postgres import quick_postgres

PROGRAM = """
import sys
from pathlib import Path
from tests.quick_postgres import quick_postgres

with quick_postgres(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


class RestartablePostgres:
    """Runs the server under a process of its own: starting one forks, which a process that talks gRPC must not."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._owner: subprocess.Popen[str] | None = None
        self.server = quick_postgres(directory)

    def __enter__(self) -> Self:
        self.start()
        self.server.start()  # finds the one that runs
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        self._owner = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self._directory)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._owner.stdout is not None
        assert self._owner.stdout.readline() == "up\n"

    def stop(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.communicate(timeout=60)

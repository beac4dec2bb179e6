"""Which of several test processes runs which tests: a file's stay together, and files that share a whole suite do.

The grouping of pytest-xdist itself writes a group into a test's id, which pytest 9.2 does not read: every test would go
to the next free process, and each process would make each database, module and suite of its own.
"""

from __future__ import annotations

import zlib
from pathlib import PurePosixPath
from typing import Final

from xdist.scheduler import LoadScopeScheduling

LONGEST: Final = ("suite", "web", "local", "status", "orchestrator", "gateway")
"""Folders, by how long their longest files take."""
PROCESSES_OF: Final = {"suite": 2, "web": 2}
"""In how many test processes a folder's files run whose tests share a whole suite: each starts one."""


class Spreading(LoadScopeScheduling):
    """Gives a group of files to a test process at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


def group_of(file: str) -> str:
    """Return the group of `tests/…/test_….py`, whose tests run in one process and one after the other."""
    path = PurePosixPath(file)
    for room, processes in PROCESSES_OF.items():
        if room in path.parts:
            return f"{room}-{zlib.crc32(path.name.encode()) % processes}"
    return file


def turn_of(file: str) -> int:
    """Return when it is the turn of `tests/…/test_….py`: what takes longest begins, what comes last is soon over."""
    parts = PurePosixPath(file).parts
    return next((turn for turn, room in enumerate(LONGEST) if room in parts), len(LONGEST))

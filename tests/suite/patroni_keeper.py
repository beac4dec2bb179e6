"""Runs the processes of a database cluster, and ends them with whoever asked for them, however that ends.

Each line of standard input is a command to start: a JSON object with `command`, `environment` and `log`. The answer is
its process id. What a process leaves behind (Patroni leaves PostgreSQL) is found by its parent or by `postmaster.pid`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def main(folder: Path) -> None:
    """Start what is asked for until standard input ends; then end it all."""
    roots = []
    try:
        for line in sys.stdin:
            wanted = json.loads(line)
            with Path(wanted["log"]).open("ab") as log:
                started = subprocess.Popen(
                    wanted["command"], env=wanted["environment"], cwd=folder, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            roots.append(started.pid)
            sys.stdout.write(f"{started.pid}\n")
            sys.stdout.flush()
    finally:
        end([*roots, *postmasters(folder)])


def end(roots: list[int]) -> None:
    """Kill these processes and all that they started, as the loss of a machine would: none sees another go first."""
    pids = list(with_descendants(roots))
    send(signal.SIGSTOP, pids)
    send(signal.SIGKILL, pids)


def send(number: signal.Signals, pids: list[int]) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def with_descendants(roots: list[int]) -> Iterator[int]:
    """Yield processes and all that they started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def postmasters(folder: Path) -> list[int]:
    """Return the servers that say they run below a folder."""
    found = []
    for file in folder.glob("**/postmaster.pid"):
        with suppress(OSError, ValueError, IndexError):
            found.append(int(file.read_text().splitlines()[0]))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The folder of a running suite: one suite at a time, and the logs of this run and of the one before."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

LOCK: Final = "suite.lock"


class SuiteBusy(Exception):
    """Another suite runs in this directory."""


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the directory while inside; the lock ends with the process."""
    with (directory / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SuiteBusy(
                f"Another suite runs in {directory}; stop it first.\nA second one needs a clone of its own."
            ) from None
        lock.truncate(0)
        lock.write(b"%d" % os.getpid())
        lock.flush()
        yield


def holder(directory: Path) -> int | None:
    """Return the process whose suite runs in a directory; None if there is none."""
    try:
        with (directory / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        number = (directory / LOCK).read_bytes()
        return int(number) if number.isdigit() else None  # it has only just begun
    return None


def begin_logs(folder: Path, *, names: Iterable[str]) -> None:
    """Begin new logs for this run; those of the run before stay beside them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        path = folder / f"{name}.log"
        with contextlib.suppress(FileNotFoundError):
            path.replace(folder / f"{name}.previous.log")
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

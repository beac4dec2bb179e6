"""The folder of a running suite: one suite at a time, and the logs of this run and of the one before."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

LOCK: Final = "suite.lock"
TRIES_MAX: Final = 10
"""How often the lock is opened again when whoever held it has just removed it."""


class SuiteBusy(Exception):
    """Another suite runs in this directory."""


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the directory while inside; the lock ends with the process. Raises `SuiteBusy`."""
    with _taken(directory) as lock:
        lock.truncate(0)
        lock.write(b"%d" % os.getpid())
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)  # the number is soon another process's


def _taken(directory: Path) -> BinaryIO:
    """Return the lock's file, locked."""
    path = directory / LOCK
    for _ in range(TRIES_MAX):
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        except FileNotFoundError:
            pass  # who held it has removed it
        except BlockingIOError:
            lock.close()
            break
        lock.close()
    raise SuiteBusy(f"Another suite runs in {directory}; stop it first.\nA second one needs a clone of its own.")


def is_held(directory: Path) -> bool:
    """Whether something runs in a directory."""
    try:
        with (directory / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def holder(directory: Path) -> int | None:
    """Return the process that holds a directory; None if there is none, or it has not said so yet."""
    if not is_held(directory):
        return None
    number = (directory / LOCK).read_bytes()
    return int(number) if number.isdigit() else None


def begin_logs(folder: Path, *, names: Iterable[str]) -> None:
    """Begin new logs for this run; those of the run before stay beside them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        path = folder / f"{name}.log"
        with contextlib.suppress(FileNotFoundError):
            path.replace(folder / f"{name}.previous.log")
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

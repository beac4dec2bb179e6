"""The machine a bench runs on: what it is, and who used how much of its processors."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy.engine import make_url

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PROC: Final = Path("/proc")
LIBRARIES: Final = ("grpcio", "protobuf", "asyncpg", "stripe")

UsedSoFar = Callable[[], float]
"""Returns the seconds of processor time used since some beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a figure has to be read with."""

    date: str
    cores: int
    processor: str
    memory_gib: float
    python: str
    libraries: Mapping[str, str]
    load_before: float
    """Processes that wanted to run before we began, in the last minute."""

    @classmethod
    def look(cls) -> Machine:
        """Look at this machine. It has to be a Linux."""
        processors = [line for line in (PROC / "cpuinfo").read_text().splitlines() if line.startswith("model name")]
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return cls(
            date=datetime.now(UTC).date().isoformat(),
            cores=len(os.sched_getaffinity(0)),
            processor=processors[0].partition(":")[2].strip() if processors else platform.machine(),
            memory_gib=round(pages / 2**30, 1),
            python=platform.python_version(),
            libraries={name: version(name) for name in LIBRARIES},
            load_before=round(os.getloadavg()[0], 1),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {number}" for name, number in self.libraries.items())
        return (
            f"{self.date}, {self.cores} cores ({self.processor}), {self.memory_gib} GiB, Python {self.python}, "
            f"{libraries}; load before the run: {self.load_before}."
        )


class Meter:
    """Reads the processor time of several users at once; their difference is what happened in between."""

    def __init__(self, users: Mapping[str, UsedSoFar]) -> None:
        self._users = dict(users)
        self._before: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        """Count from here on."""
        self._before = {name: used() for name, used in self._users.items()}

    def read(self) -> dict[str, float]:
        """Return the seconds each used since `start`."""
        return {name: used() - self._before[name] for name, used in self._users.items()}


def process(pid: int | None) -> UsedSoFar:
    """Return the clock of one process with all its threads, without its children, by the system's count of 10 ms."""
    stat = PROC / str(pid) / "stat"
    return lambda: sum(_times(stat)[:2]) / TICKS_PER_S


def process_and_children(pid: int) -> UsedSoFar:
    """Return the clock of a process with its children, those that have ended too: PostgreSQL has one per connection.

    Each has one thread, so that the scheduler's own count can be read: of a dozen connections that hardly work, ticks
    of 10 ms would say nothing.
    """

    def used() -> float:
        seconds = sum(_times(PROC / str(pid) / "stat")[2:]) / TICKS_PER_S + _scheduled_s(pid)
        for child in children(pid):
            try:
                seconds += _scheduled_s(child)
            except OSError:  # it has ended just now, and is counted with its parent from the next reading on
                continue
        return seconds

    return used


def main_thread(pid: int) -> UsedSoFar:
    """Return the clock of a process's first thread."""
    return lambda: _scheduled_s(pid)


def _scheduled_s(pid: int) -> float:
    """Return how long the first thread of a process ran."""
    return int((PROC / str(pid) / "schedstat").read_text().split()[0]) / 1e9


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_fields(entry / "stat")[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found


def everything() -> float:
    """Return the seconds that all processors of this machine were busy, whoever kept them so."""
    named = [int(text) for text in (PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = named
    return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS_PER_S


def arguments_of(pid: int) -> list[str]:
    """Return the command line of a process."""
    return (PROC / str(pid) / "cmdline").read_text().split("\0")[:-1]


def resident_bytes(pid: int | None) -> int:
    """Return how much memory a process has."""
    return _memory(pid, "VmRSS")


def peak_bytes(pid: int | None) -> int:
    """Return how much memory a process had at most, since its start or `restart_peak`."""
    return _memory(pid, "VmHWM")


def restart_peak(pid: int | None) -> None:
    """Let `peak_bytes` of a process begin anew."""
    (PROC / str(pid) / "clear_refs").write_text("5")


async def postgres_pid(url: str) -> int:
    """Return the process id of the server at `url`, which runs on this machine."""
    connection = await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))
    try:
        backend = int(await connection.fetchval("SELECT pg_backend_pid()"))
        return int(_fields(PROC / str(backend) / "stat")[1])
    finally:
        await connection.close()


def _memory(pid: int | None, name: str) -> int:
    for line in (PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"process {pid} has no memory")


def _times(stat: Path) -> list[int]:
    """Return the ticks of a process: its own in user and system mode, and those of its children that have ended."""
    return [int(text) for text in _fields(stat)[11:15]]


def _fields(stat: Path) -> list[str]:
    return stat.read_text().rpartition(")")[2].split()  # a command's name may hold blanks and brackets

"""Who runs where: the server under measurement on one processor, its clients on another."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.machine import PROC, process, resident_bytes
from local.processes import ROOT

SERVER_PROCESSOR: Final = 0
CLIENT_PROCESSOR: Final = 1
START_S: Final = 60.0
QUIT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a server says about changes it published."""

    count: int
    lag_s: float
    """How far it fell behind the rate it was told, at worst."""
    seconds: float


class Served:
    """A running server that takes commands."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.pid = child.pid
        self.cpu_s = process(child.pid)

    def resident_bytes(self) -> int:
        return resident_bytes(self.pid)

    async def publish(self, *, per_s: float, seconds: float, payments: int) -> Published:
        """Let it publish changes; returns once it has."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"pub {per_s} {seconds} {payments}\n".encode())
        word, count, lag_ms, took_s = (await self._line()).split()
        assert word == "DONE", word
        return Published(count=int(count), lag_s=float(lag_ms) / 1e3, seconds=float(took_s))

    async def until_ready(self) -> None:
        async with asyncio.timeout(START_S):
            line = await self._line()
        assert line == "READY", line

    async def quit(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            async with asyncio.timeout(QUIT_S):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()

    async def kill(self) -> None:
        """End it as a crash would."""
        self._child.kill()
        await self._child.wait()

    async def _line(self) -> str:
        assert self._child.stdout is not None
        line = await self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the server ended with exit code {await self._child.wait()}")
        return line.decode().strip()


@asynccontextmanager
async def serving(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log_file: Path | None = None,
    processor: int = SERVER_PROCESSOR,
) -> AsyncIterator[Served]:
    """Run a server on its processor while inside."""
    errors = None if log_file is None else log_file.open("ab")
    child = await asyncio.create_subprocess_exec(
        *on_processor(processor),
        *command,
        cwd=ROOT,
        env=dict(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
    )
    served = Served(child)
    try:
        await served.until_ready()
        yield served
    finally:
        await served.quit()
        if errors is not None:
            errors.close()


def on_processor(number: int) -> list[str]:
    """Return what to put before a command so that it runs there; nothing where there is no choice."""
    taskset = shutil.which("taskset")
    if taskset is None or os.cpu_count() == 1:
        return []
    return [taskset, "-c", str(number)]


def pin_server(pid: int) -> None:
    """Move a process that runs already to the servers' processor, with all its threads."""
    if (os.cpu_count() or 1) > 1:
        for task in (PROC / str(pid) / "task").iterdir():
            os.sched_setaffinity(int(task.name), {SERVER_PROCESSOR})


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def bare_environment() -> dict[str, str]:
    """Return the environment of a server that needs nothing of ours."""
    return {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def as_client() -> Iterator[None]:
    """Run this process beside the server's processor, and let it have as many files as it may, while inside.

    What it starts meanwhile starts there, too, unless it is told otherwise.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    processors = os.sched_getaffinity(0)
    if len(processors) > 1:
        os.sched_setaffinity(0, {CLIENT_PROCESSOR})
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)

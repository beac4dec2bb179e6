"""One process of the suite: in a group of its own, logged to a file, waited for by its health, ended in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol

from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from batzen._channel import make_channel, streaming

ROOT: Final = Path(__file__).parents[1]
"""The checkout."""
STOP_TIMEOUT_S: Final = 30.0
"""Then a process is killed, as Kubernetes would; ours take less than 2 s where nothing else is done."""
READY_TIMEOUT_S: Final = 180.0
"""A slow machine's first start, with nothing compiled yet."""
CONNECT_RETRY_MS: Final = 30
"""Between two looks whether a starting process listens."""
LOG_TAIL_LINES: Final = 15
TRACE_TAIL_LINES: Final = 8

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING


class ProcessFailed(Exception):
    """A process of the suite ended when it should not; the message ends with its last words."""


class Process(Protocol):
    """A process that runs or has ended."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None:
        """Negative for a signal; None while it runs."""

    async def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        ...


Spawn = Callable[[Sequence[str], Mapping[str, str], IO[bytes]], Awaitable[Process]]
"""Starts `module arguments…` under `local.child`, with an environment, logging to a file, in a group of its own."""


async def own_interpreter(
    command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], *, root: Path = ROOT
) -> Process:
    """Start `python -m module arguments…` in a checkout."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local.child", *command,
        cwd=root,
        env=environment,
        stdin=asyncio.subprocess.PIPE,  # stays open as long as we live: see local/child.py
        stdout=log,
        stderr=log,
        start_new_session=True,  # Ctrl-C is for us; we stop them in order
    )  # fmt: skip


class Child:
    """`python -m module arguments…`, at most one at a time; start it again after it ended."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        log_file: Path,
        name: str | None = None,
        spawn: Spawn = own_interpreter,
    ) -> None:
        self.name = name or module
        self.environment = dict(environment)
        """For the next start."""
        self.log_file = log_file
        self._command = (module, *arguments)
        self._spawn = spawn
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The running process; None if there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it; that it runs does not mean that it serves."""
        if self.pid is not None:
            raise ProcessFailed(f"{self.name} runs already.")
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = await self._spawn(self._command, self.environment, log)

    async def wait(self) -> int:
        """Return the exit code once it has ended, negative for a signal; 0 if it never ran."""
        return 0 if self._process is None else await self._process.wait()

    async def run(self) -> None:
        """Start it and wait for its end; raise `ProcessFailed` unless that is exit code 0."""
        await self.start()
        try:
            code = await self.wait()
        except asyncio.CancelledError:
            await self.stop()
            raise
        if code != 0:
            raise self._failed(code)

    async def stop(self) -> int:
        """Ask it to end, insist after `STOP_TIMEOUT_S`, and return its exit code."""
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End it with SIGKILL, as a crash would."""
        self._send(signal.SIGKILL)
        return await self.wait()

    async def until_serving(self, health_address: str) -> None:
        """Return once its health says SERVING; raise `ProcessFailed` if it ends before, or takes too long."""
        await self.until(serving(health_address))

    async def until(self, ready: asyncio.Task[None]) -> None:
        """Return once `ready` does; raise `ProcessFailed` if the process ends before, or `READY_TIMEOUT_S` pass."""
        ended = asyncio.create_task(self.wait())
        both: set[asyncio.Task[None] | asyncio.Task[int]] = {ready, ended}
        try:
            await asyncio.wait(both, timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise self._failed(ended.result())
            if not ready.done():
                raise ProcessFailed(f"{self.name} is not ready after {READY_TIMEOUT_S:.0f} s.{self._last_words()}")
            ready.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    def _send(self, number: signal.Signals) -> None:
        """Signal the whole group, so that nothing it started stays."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended this moment
                os.killpg(self.pid, number)

    def _failed(self, code: int) -> ProcessFailed:
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return ProcessFailed(f"{self.name} {how}.{self._last_words()}")

    def _last_words(self) -> str:
        lines = last_lines(self.log_file, count=LOG_TAIL_LINES)
        return "\n".join(["", f"The end of {self.log_file}:", *map(_readable, lines)]) if lines else ""


def last_lines(path: Path, *, count: int) -> Sequence[str]:
    """Return the last lines of a file, none if it does not exist."""
    try:
        return path.read_text(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def _readable(line: str) -> str:
    """Return a line of our logs for a person, and any other as it is."""
    try:
        entry = json.loads(line)
        trace = str(entry.get("exception", "")).splitlines()[-TRACE_TAIL_LINES:]
        return "\n".join([f"{entry['level']} {entry['message']}", *trace])
    except (ValueError, KeyError, AttributeError, TypeError):
        return line


def serving(health_address: str) -> asyncio.Task[None]:
    """Return what is done once the health there says SERVING; cancel it to wait no longer."""

    async def watch() -> None:
        options = [
            ("grpc.initial_reconnect_backoff_ms", CONNECT_RETRY_MS),
            ("grpc.min_reconnect_backoff_ms", CONNECT_RETRY_MS),
            ("grpc.max_reconnect_backoff_ms", CONNECT_RETRY_MS),
        ]
        async with make_channel(health_address, timeout_s=READY_TIMEOUT_S, metadata=tuple, options=options) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its types lack Watch
            while True:
                call = stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
                with contextlib.suppress(aio.AioRpcError):  # it goes away while it starts; `until` notices if for good
                    async with streaming(call) as messages:
                        async for message in messages:
                            if message.status == _SERVING:
                                return
                await asyncio.sleep(CONNECT_RETRY_MS / 1000)

    return asyncio.create_task(watch())

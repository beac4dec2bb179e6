"""Starts processes as forks of one that has imported everything: a start costs no second of imports.

    async with ForkServer() as forks:
        async with running_suite(directory, ports=free_ports(), spawn=forks.spawn) as suite:
            …

What is started is a process like any other: its own group, its own files, killed and waited for by its number. Only
`/proc/…/environ` shows the server's. The server runs no thread and has no channel open, so that it may fork.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import TracebackType
from typing import IO, Any, Final, Self

from local import child
from local.environments import FRONTS, SERVICES
from local.processes import ROOT

OF_THE_SUITE: Final = (*(f"services.{service}.__main__" for service in SERVICES), "sandbox.__main__")
OF_THE_FRONTS: Final = tuple(f"services.{front}.__main__" for front in FRONTS)
REQUEST_BYTES_MAX: Final = 1 << 20
READY: Final = {"ready": True}


class Fork:
    """A process that the server has started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = asyncio.Event()

    async def wait(self) -> int:
        """Wait for the end, and return the exit code, negative for a signal."""
        await self.ended.wait()
        assert self.returncode is not None
        return self.returncode


class ForkServer:
    """The server as its user sees it; it and all that it started end with this process, however that ends."""

    def __init__(self, *modules: str, **environment: str) -> None:
        """`modules` are what it is going to run, by default the suite's; `environment` is for their import."""
        self._modules = modules or OF_THE_SUITE
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._starting: list[asyncio.Future[Fork]] = []
        self._running: dict[int, Fork] = {}
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.forking", *self._modules,
            cwd=ROOT, env=os.environ | self._environment, start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert json.loads(await self._process.stdout.readline()) == READY
        self._reading = asyncio.create_task(self._read(self._process.stdout))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reading is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading

    async def spawn(
        self, command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], errors: IO[bytes] | None = None
    ) -> Fork:
        """Start `module arguments…`, as `local.processes.own_interpreter` does; `errors` go into `log` by default."""
        assert self._process is not None
        assert self._process.stdin is not None
        started: asyncio.Future[Fork] = asyncio.get_running_loop().create_future()
        self._starting.append(started)
        streams = [log.name, (errors or log).name]
        request = {"command": list(command), "environment": dict(environment), "streams": streams}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return await started

    async def _read(self, answers: asyncio.StreamReader) -> None:
        async for line in answers:
            answer: dict[str, int] = json.loads(line)
            pid = answer["pid"]
            if "code" in answer:
                fork = self._running.pop(pid)
                fork.returncode = answer["code"]
                fork.ended.set()
            else:
                self._running[pid] = Fork(pid)
                started = self._starting.pop(0)
                if not started.cancelled():
                    started.set_result(self._running[pid])


def serve() -> dict[str, Any]:
    """Fork for each line of standard input until that ends; return, in a fork, what it is to run."""
    alive, our_end = os.pipe()  # closes when we are gone, which is what `local.child` waits for
    running: dict[int, int] = {}
    answer(READY)
    waiting = b""
    while True:
        readable, _, _ = select.select([0, *running], [], [])
        for pidfd in [one for one in readable if one in running]:
            pid = running.pop(pidfd)
            os.close(pidfd)
            answer({"pid": pid, "code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})
        if 0 not in readable:
            continue
        read = os.read(0, REQUEST_BYTES_MAX)
        if not read:
            raise SystemExit
        *lines, waiting = (waiting + read).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                os.dup2(alive, 0)
                for descriptor in (alive, our_end, *running):
                    os.close(descriptor)
                request: dict[str, Any] = json.loads(line)
                return request
            os.setpgid(pid, pid)  # before anyone signals the group
            running[os.pidfd_open(pid)] = pid
            answer({"pid": pid})


def answer(document: Mapping[str, object]) -> None:
    os.write(1, json.dumps(document).encode() + b"\n")


def become(request: Mapping[str, Any]) -> None:
    """Be the process that was asked for."""
    for stream, path in enumerate(request["streams"], start=1):
        log = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(log, stream)
        os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    child.main(*request["command"])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        import_module(name)
        del sys.modules[name]  # it is run, as any `__main__`, and not imported
    gc.collect()
    gc.freeze()  # no collection in a fork touches, and so copies, what all share
    become(serve())

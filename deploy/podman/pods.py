"""The pods of the local overlay under podman: started in order, reached on this machine, ended in order, taken away.

async with running_pods(folder, ports=free_ports()) as pods:
    async with pods.client("service", sub="shop") as batzen:
        …
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from batzen.client import Addresses, Client
from deploy.images.build import LOCAL_TAG, POSTGRES
from deploy.images.tools import Store, ToolFailed, require
from deploy.podman.forward import forwarding
from deploy.podman.overlay import forget, generated, rendered
from deploy.podman.transform import HOST, Plan, Pod, plan
from local.connection_file import SUBJECTS
from local.environments import FRONTS, SERVICES, addresses
from local.issuer import Issuer
from local.processes import serving
from local.running import alone
from local.start import add_seller

PROCESSES: Final = (*SERVICES, *FRONTS)
DATABASE: Final = "postgres"
NETWORK: Final = "batzen"
READY_S: Final = 90.0
"""For a pod of a slow machine; a quiet one takes three seconds."""
LOOK_S: Final = 0.2
"""Between two looks at something that podman does not tell of by itself."""
FORWARDED: Final = {"sandbox": "gateway-sandbox", "login": "console-login"}
"""What listens on a pod's own loopback alone, and is reached on this machine: port of `local.ports` → container."""
OVERLAY_IMAGES: Final = {"postgres": f"localhost/{POSTGRES}:{LOCAL_TAG}"}
"""What the overlay takes from a registry, and we make."""

T = TypeVar("T")

Report = Callable[[str, bool], None]
"""Told the name of each step as it begins (False) and as it is done (True)."""


class Pods:
    """Running pods, and the handles to end and kill them."""

    def __init__(self, folder: Path, store: Store, wanted: Plan, *, ports: Mapping[str, int]) -> None:
        self.folder = folder
        self.ports = dict(ports)
        self.plan = wanted
        self.issuer = Issuer(generated(folder) / "issuer", now=lambda: datetime.now(UTC))
        self.store = store

    @property
    def addresses(self) -> Addresses:
        return addresses(self.ports)

    @property
    def logs(self) -> Path:
        """Where what the containers said lies, once they have ended."""
        return self.folder / "logs"

    def client(self, role: str, *, sub: str) -> Client:
        """Return a client of the suite for `sub`; use it with `async with`."""
        return Client(token=self.issuer.mint(sub, roles={role}), addresses=self.addresses)

    async def podman(self, *arguments: str) -> str:
        """Run podman, and return what it wrote."""
        return await asyncio.to_thread(self.store.podman, *arguments)

    async def play(self, pod: Pod) -> None:
        """Start a pod; that it runs does not mean that it serves."""
        file = self.folder / "kubernetes" / f"{pod.name}.yaml"
        file.write_text(yaml.safe_dump_all(pod.documents))
        file.chmod(0o600)
        await self.podman("play", "kube", "--quiet", "--network", NETWORK, str(file))

    async def run_to_end(self, job: Pod) -> None:
        """Run a job; raise `ToolFailed` with its last words unless it ends with 0."""
        await self.play(job)
        [container] = job.containers
        code = (await self.podman("wait", container)).strip()
        if code != "0":
            raise ToolFailed(f"{job.name} ended with {code}:\n{await self.said(container)}")
        await self.podman("pod", "rm", "--force", job.name)

    async def until_ready(self, service: str) -> None:
        """Return once the service's health port says so; raise `ToolFailed` with its last words after `READY_S`."""
        try:
            await asyncio.wait_for(serving(f"{HOST}:{self.ports[f'{service}-health']}"), READY_S)
        except TimeoutError:
            last = await self.said(f"{service}-server")
            raise ToolFailed(f"{service} was not ready after {READY_S} s:\n{last}") from None

    async def until_database_answers(self) -> None:
        """Return once the database server takes connections from other pods."""
        async with asyncio.timeout(READY_S):
            while True:
                with contextlib.suppress(ToolFailed):
                    await self.podman("exec", f"{DATABASE}-{DATABASE}", "pg_isready", "--quiet", "--host", HOST)
                    return
                await asyncio.sleep(LOOK_S)

    async def inspect(self, container: str) -> dict[str, Any]:
        """Return what podman knows of a container."""
        [found] = json.loads(await self.podman("container", "inspect", container))
        return dict(found)

    async def crash(self, service: str) -> None:
        """Kill the service's process, as a crash would: what podman kills itself counts as stopped by a person."""
        pid = (await self.inspect(f"{service}-server"))["State"]["Pid"]
        os.kill(pid, signal.SIGKILL)

    async def stop(self, service: str) -> int:
        """End a service in order, within the manifests' grace, and return its exit code."""
        container = f"{service}-server"
        await self.podman("stop", "--time", str(self.plan.server(service).grace_s), container)
        return int((await self.inspect(container))["State"]["ExitCode"])

    async def said(self, container: str, *, lines: int = 20) -> str:
        """Return the last lines of a container's log."""
        return await self.podman("logs", "--tail", str(lines), container)

    async def keep_logs(self) -> None:
        """Write what each container said into `logs`."""
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        for pod in self.plan.servers:
            for container in pod.containers:
                with contextlib.suppress(ToolFailed):  # one that was never started has said nothing
                    (self.logs / f"{container}.log").write_text(await self.podman("logs", container))


@asynccontextmanager
async def running_pods(
    folder: Path, *, ports: Mapping[str, int], store: Store | None = None, report: Report = lambda _name, _done: None
) -> AsyncIterator[Pods]:
    """Run what the local overlay says while inside, with secrets of its own, on databases of its own.

    Raises `ToolMissing`, `ToolFailed`, or `SuiteBusy` where pods of this store run: a pod's name is its address.
    """
    require("podman")
    store = store or Store()
    async with AsyncExitStack() as stack:
        stack.enter_context(alone(store.home))
        wanted = plan(rendered(folder), ports=ports, images=OVERLAY_IMAGES)
        pods = Pods(folder, store, wanted, ports=ports)
        await _clear(pods)  # what a run left behind that was killed
        stack.push_async_callback(_end, pods)
        await pods.podman("network", "create", NETWORK)

        await _step(report, "pod of PostgreSQL", pods.play, [wanted.server(DATABASE)])
        await _step(report, "PostgreSQL", lambda _: pods.until_database_answers(), [DATABASE])
        await _step(report, "migrations", pods.run_to_end, wanted.jobs)
        await _step(report, "pods of the services", pods.play, [wanted.server(name) for name in PROCESSES])
        await _step(report, "services", pods.until_ready, PROCESSES)
        for name, container in FORWARDED.items():
            execute = store.podman_command("exec", "--interactive", container)
            environ = {**os.environ, **store.environ}
            there = forwarding(execute, environ, host=HOST, port=ports[name], inside_port=ports[name])
            await stack.enter_async_context(there)
        async with pods.client("service", sub=SUBJECTS["service"]) as batzen:
            await add_seller(batzen, SUBJECTS["seller"])
        yield pods


async def _step(report: Report, name: str, do: Callable[[T], Awaitable[None]], things: Iterable[T]) -> None:
    """Do it to one after the other: podman itself does one thing at a time, and what it started goes on meanwhile."""
    report(name, False)
    for thing in things:
        await do(thing)
    report(name, True)


async def _end(pods: Pods) -> None:
    """End who calls before who is called, keep what they said, and take everything away."""
    for services in (FRONTS, ("orchestrator", "gateway"), ("status", "pricing")):
        for service in services:
            with contextlib.suppress(ToolFailed):  # it may never have come so far
                await pods.stop(service)
    await pods.keep_logs()
    await _clear(pods)
    forget(pods.folder)


async def _clear(pods: Pods) -> None:
    await pods.podman("pod", "rm", "--force", "--all", "--time", "5")
    await pods.podman("volume", "rm", "--force", "--all")
    with contextlib.suppress(ToolFailed):  # there is none
        await pods.podman("network", "rm", "--force", NETWORK)

"""One replica as a cluster runs it: command, ports, probes and graces of `deploy/kubernetes`, an address of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, Self

import yaml
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local.processes import ROOT, Child, Process
from tests.eventually import eventually

BASE: Final = ROOT / "deploy" / "kubernetes" / "base"
STARTS_WITHIN_S: Final = 150.0
"""What the startup probe allows."""
SERVING: Final = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """How the kubelet asks, by gRPC."""

    name: str
    every_s: float
    timeout_s: float
    failures_max: int

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Read a probe of a manifest."""
        return cls(
            name=said["grpc"]["service"],
            every_s=said["periodSeconds"],
            timeout_s=said["timeoutSeconds"],
            failures_max=said["failureThreshold"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `deploy/kubernetes` says of the pods of a service."""

    command: Sequence[str]
    ports: Mapping[str, int]
    startup: Probe
    readiness: Probe
    liveness: Probe
    grace_s: float
    pre_stop_s: float

    @classmethod
    def of(cls, service: str) -> Self:
        """Read the service's own part, and what all pods have in common."""
        own, common = [_pod(BASE / part) for part in (f"{service}/deployment.yaml", "pod/server.yaml")]
        mine, shared = own["containers"][0], common["containers"][0]
        return cls(
            command=mine["command"],
            ports={port["name"]: port["containerPort"] for port in (*mine["ports"], *shared["ports"])},
            startup=Probe.of(shared["startupProbe"]),
            readiness=Probe.of(shared["readinessProbe"]),
            liveness=Probe.of(shared["livenessProbe"]),
            grace_s=own["terminationGracePeriodSeconds"],
            pre_stop_s=shared["lifecycle"]["preStop"]["sleep"]["seconds"],
        )


def _pod(path: Path) -> Any:
    documents = yaml.safe_load_all(path.read_text())
    [deployment] = [one for one in documents if one["kind"] == "Deployment"]
    return deployment["spec"]["template"]["spec"]


@dataclass(slots=True)
class Told:
    """What the cluster saw, for people."""

    restarts: int = 0
    started_again: int = 0
    """Containers that ended before they were ready, which the kubelet starts again."""
    starts_s: list[float] = field(default_factory=list)
    """From the start of a pod until it was ready."""
    ends_s: list[float] = field(default_factory=list)
    """From SIGTERM until its process had ended."""
    wrongs: list[str] = field(default_factory=list)
    """What no rolling update should see: a pod that ended by itself, late, or not with 0; one that was killed."""


class Pod:
    """One replica, from its start to its end."""

    def __init__(
        self,
        service: str,
        manifest: Manifest,
        *,
        address: str,
        environment: Mapping[str, str],
        log_file: Path,
        told: Told,
        root: Path = ROOT,
    ) -> None:
        self.service = service
        self.address = address
        self.is_ready = False
        self._manifest = manifest
        self._told = told
        self._begun = 0.0
        self._ending = asyncio.Event()
        self._probing: list[asyncio.Task[None]] = []
        ports = manifest.ports
        listens = {
            "BATZEN_LISTEN": ports["http"] if "http" in ports else ports["grpc"],
            "BATZEN_HEALTH_LISTEN": ports["health"],
            "BATZEN_METRICS_LISTEN": ports["metrics"],
        } | ({"BATZEN_WEBHOOK_LISTEN": ports["webhooks"]} if "webhooks" in ports else {})
        self._child = Child(
            *manifest.command,
            name=f"{service} on {address}",
            environment={**environment, **{name: f"{address}:{port}" for name, port in listens.items()}},
            log_file=log_file,
            spawn=partial(as_the_manifest_says, root=root),
        )

    def probe(self, changed: Callable[[], None]) -> None:
        """Begin to probe readiness and liveness, as the kubelet does; `changed` hears when readiness did."""
        looks = (
            self._look(self._manifest.liveness, self._lives),
            self._look(self._manifest.readiness, lambda ready: self._readies(ready, changed)),
        )
        self._probing = [asyncio.create_task(look) for look in looks]

    async def launch(self) -> None:
        """Start it."""
        self._begun = time.monotonic()
        await self._child.start()

    async def until_ready(self) -> None:
        """Return once it is started and ready."""
        for probe in (self._manifest.startup, self._manifest.readiness):

            async def passes(probe: Probe = probe) -> bool:
                if self._child.pid is None:  # as one that waited for too long for its schema or its database
                    self._told.started_again += 1
                    await self._child.start()
                return await self.asked(probe)

            await eventually(passes, within_s=STARTS_WITHIN_S, what=f"{self._child.name} passes {probe.name}")
        self.is_ready = True
        self._told.starts_s.append(time.monotonic() - self._begun)

    async def end(self, *, pre_stop_s: float) -> None:
        """Let it serve for the preStop, then ask it to end, and kill it at the end of its grace."""
        self._ending.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(pre_stop_s):
                code = await self._child.wait()
                self._told.wrongs.append(f"{self._child.name} ended by itself with {code}")
                return
        begun, pid = time.monotonic(), self._child.pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(self._manifest.grace_s - pre_stop_s):
                code = await self._child.wait()
        except TimeoutError:
            code = await self._child.kill()
        self._told.ends_s.append(time.monotonic() - begun)
        if code != 0:
            self._told.wrongs.append(f"{self._child.name} ended with {code}")

    async def kill(self) -> None:
        """End it whatever it does."""
        self._ending.set()
        await self._child.kill()

    async def _look(self, probe: Probe, tell: Callable[[bool], None]) -> None:
        failures = 0
        while not self._ending.is_set():
            failures = 0 if await self.asked(probe) else failures + 1
            if failures in (0, probe.failures_max):
                tell(failures == 0)
            with suppress(TimeoutError):
                async with asyncio.timeout(probe.every_s):
                    await self._ending.wait()

    def _lives(self, is_alive: bool) -> None:
        if not is_alive and not self._ending.is_set():
            self._told.wrongs.append(f"{self._child.name} would have been killed: its liveness failed")

    def _readies(self, is_ready: bool, changed: Callable[[], None]) -> None:
        if is_ready != self.is_ready and not self._ending.is_set():
            self._told.wrongs.append(f"{self._child.name} is {'' if is_ready else 'not '}ready, and nobody ended it")
            self.is_ready = is_ready
            changed()

    async def asked(self, probe: Probe) -> bool:
        """Ask it, as the kubelet does; whether it says that it serves."""
        async with aio.insecure_channel(f"{self.address}:{self._manifest.ports['health']}") as channel:
            try:
                check = health_pb2_grpc.HealthStub(channel).Check
                answer = await check(health_pb2.HealthCheckRequest(service=probe.name), timeout=probe.timeout_s)
            except aio.AioRpcError:
                return False
            return bool(answer.status == SERVING)


async def as_the_manifest_says(
    command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], *, root: Path
) -> Process:
    """Start a container's command, with the interpreter of the tests."""
    program, *arguments = command
    assert program == "python"
    setpriv = shutil.which("setpriv")  # with it, a run of tests that is killed leaves no pod behind
    prefix = () if setpriv is None else (setpriv, "--pdeathsig", "KILL")
    return await asyncio.create_subprocess_exec(
        *(*prefix, sys.executable, *arguments),
        cwd=root,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,  # `Child` speaks to a group
    )

"""What a cluster does to pods, on one machine: probes, names, a rolling update, and the end of a pod.

Pods are processes with the commands, ports, probes and graces of `deploy/kubernetes`, each on an address of its own in
127.0.0.0/8, so that all replicas of a service have the same port. A name has the addresses of those that are ready.

    a new pod runs → is ready → has its name → the old one loses its name and begins its preStop → SIGTERM → it ends

That is `maxSurge: 1`, `maxUnavailable: 0`. Two things differ: the preStop is a parameter, so that a soak takes minutes
and not hours, and webhooks come through a balancer of connections, which a Service with an address of its own is.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

import yaml
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from batzen.client import Addresses
from local.environments import SERVICES
from local.processes import ROOT, Child, Process
from local.suite import Suite
from tests.eventually import eventually
from tests.name_server import NameServer

BASE: Final = ROOT / "deploy" / "kubernetes" / "base"
NAMESPACE: Final = "batzen.svc.cluster.local"
REPLICAS: Final = 2
"""The autoscalers' minimum."""
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
    ) -> None:
        self.service = service
        self.address = address
        self.is_ready = False
        self._manifest = manifest
        self._told = told
        self._ending = asyncio.Event()
        self._probing: list[asyncio.Task[None]] = []
        ports = manifest.ports
        listens = {
            "BATZEN_LISTEN": ports["grpc"],
            "BATZEN_HEALTH_LISTEN": ports["health"],
            "BATZEN_METRICS_LISTEN": ports["metrics"],
        } | ({"BATZEN_WEBHOOK_LISTEN": ports["webhooks"]} if "webhooks" in ports else {})
        self._child = Child(
            *manifest.command,
            name=f"{service} on {address}",
            environment={**environment, **{name: f"{address}:{port}" for name, port in listens.items()}},
            log_file=log_file,
            spawn=_as_the_manifest_says,
        )

    def probe(self, changed: Callable[[], None]) -> None:
        """Begin to probe readiness and liveness, as the kubelet does; `changed` hears when readiness did."""
        looks = (
            self._look(self._manifest.liveness, self._lives),
            self._look(self._manifest.readiness, lambda ready: self._readies(ready, changed)),
        )
        self._probing = [asyncio.create_task(look) for look in looks]

    async def start(self) -> None:
        """Start it, and return once it is started and ready."""
        begun = time.monotonic()
        await self._child.start()
        for probe in (self._manifest.startup, self._manifest.readiness):

            async def passes(probe: Probe = probe) -> bool:
                assert self._child.pid is not None, f"{self._child.name} ended as it started"
                return await self._asked(probe)

            await eventually(passes, within_s=STARTS_WITHIN_S, what=f"{self._child.name} passes {probe.name}")
        self.is_ready = True
        self._told.starts_s.append(time.monotonic() - begun)

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
            failures = 0 if await self._asked(probe) else failures + 1
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

    async def _asked(self, probe: Probe) -> bool:
        async with aio.insecure_channel(f"{self.address}:{self._manifest.ports['health']}") as channel:
            try:
                check = health_pb2_grpc.HealthStub(channel).Check
                answer = await check(health_pb2.HealthCheckRequest(service=probe.name), timeout=probe.timeout_s)
            except aio.AioRpcError:
                return False
            return bool(answer.status == SERVING)


async def _as_the_manifest_says(command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Process:
    """Start a container's command, with the interpreter of the tests."""
    program, *arguments = command
    assert program == "python"
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
    )


class Cluster:
    """The four services as deployments, in place of the suite's own processes."""

    def __init__(self, suite: Suite, names: NameServer, *, pre_stop_s: float) -> None:
        self.told = Told()
        self.manifests = {service: Manifest.of(service) for service in SERVICES}
        self._suite = suite
        self._names = names
        self._pre_stop_s = pre_stop_s
        self._pods: dict[str, list[Pod]] = {service: [] for service in SERVICES}
        # Another run on this machine is elsewhere.
        self._free = (
            f"127.{16 + os.getpid() % 200}.{number // 250}.{1 + number % 250}" for number in itertools.count()
        )

    @property
    def addresses(self) -> Addresses:
        """What callers are configured with."""
        return Addresses(**{service: self._target(service) for service in SERVICES})

    def ready(self, service: str) -> Sequence[str]:
        """Return the addresses behind a service."""
        return self._names.addresses(f"{service}.{NAMESPACE}")

    async def roll(self, service: str) -> None:
        """Replace each pod of a service by a new one."""
        for old in list(self._pods[service]):
            await self._add(service)
            await self._remove(old)
        self.told.restarts += 1

    async def take_away(self, service: str) -> None:
        """End all pods of a service before there is a new one, as no rolling update does."""
        for old in list(self._pods[service]):
            await self._remove(old)
        await asyncio.gather(*(self._add(service) for _ in range(REPLICAS)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Run while inside, `REPLICAS` pods of each."""
        try:
            # They start together, as after an install: each waits for its peers' names.
            await asyncio.gather(*(self._add(service) for service in SERVICES for _ in range(REPLICAS)))
            async with _balancer(self._suite.ports["webhooks"], lambda: self.ready("gateway"), self._webhook_port):
                yield self
            pods = [pod for service in SERVICES for pod in self._pods[service]]
            await asyncio.gather(*(self._remove(pod) for pod in pods))
        finally:
            for service in SERVICES:
                for pod in self._pods[service]:
                    await pod.kill()

    @property
    def _webhook_port(self) -> int:
        return self.manifests["gateway"].ports["webhooks"]

    def _target(self, service: str) -> str:
        return self._names.target(f"{service}.{NAMESPACE}", port=self.manifests[service].ports["grpc"])

    async def _add(self, service: str) -> None:
        environment = self._suite.env_for(service) | {
            f"BATZEN_{peer.upper()}_ADDRESS": self._target(peer) for peer in SERVICES if peer != service
        }
        pod = Pod(
            service,
            self.manifests[service],
            address=next(self._free),
            environment=environment,
            log_file=self._suite.logs / f"{service}.log",
            told=self.told,
        )
        self._pods[service].append(pod)
        await pod.start()
        pod.probe(lambda: self._publish(service))
        self._publish(service)

    async def _remove(self, pod: Pod) -> None:
        pod.is_ready = False
        self._publish(pod.service)
        await pod.end(pre_stop_s=self._pre_stop_s)
        self._pods[pod.service].remove(pod)

    def _publish(self, service: str) -> None:
        addresses = [pod.address for pod in self._pods[service] if pod.is_ready]
        self._names.publish(f"{service}.{NAMESPACE}", addresses)


@asynccontextmanager
async def _balancer(port: int, ready: Callable[[], Sequence[str]], pod_port: int) -> AsyncIterator[None]:
    """Pass each connection to a pod that is ready, in turn; one that is made stays where it is."""
    turns = itertools.count()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        ends = [writer]
        try:
            addresses = ready()
            pod_reader, pod_writer = await asyncio.open_connection(addresses[next(turns) % len(addresses)], pod_port)
            ends.append(pod_writer)
            await asyncio.gather(_pass_on(reader, pod_writer), _pass_on(pod_reader, writer))
        except (OSError, ZeroDivisionError, asyncio.CancelledError):
            pass  # no pod is ready, or it went as we came, or it is over: the caller finds the connection closed
        finally:
            for end in ends:
                end.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

"""What a cluster does to pods, on one machine: probes, names, a rolling update, and the end of a pod.

Pods are processes with the commands, ports, probes and graces of `deploy/kubernetes`, each on an address of its own in
127.0.0.0/8, so that all replicas of a service have the same port. A name has the addresses of those that are ready.

    a new pod runs → is ready → has its name → the old one loses its name and begins its preStop → SIGTERM → it ends

That is `maxSurge: 1`, `maxUnavailable: 0`. Two things differ: preStop and what fronts wait for silent connections are
shorter, so that a soak takes minutes and not hours, and webhooks and browsers come through balancers of connections:
the one as a Service with an address of its own is, the other as the Gateway in front of the pages, which tries another
pod where one refuses a connection.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final, Self

from batzen.client import Addresses
from local.environments import FRONTS, SERVICES
from local.processes import ROOT
from local.suite import Suite
from tests.name_server import NameServer, name_server
from tests.suite.pods import Manifest, Pod, Told

NAMESPACE: Final = "batzen.svc.cluster.local"
DEPLOYED: Final = (*SERVICES, *FRONTS)
REPLICAS: Final = 2
"""The autoscalers' minimum."""
PRE_STOP_S: Final = 1.0
"""In place of the manifests' 10: here a name's new addresses are known as soon as they are asked for."""
PARTING_S: Final = 20
"""In place of the manifests' 76: longer than the browsers and the back end here keep a silent connection (5 s), by what
this machine may be late. Nobody waits for it to the end unless a connection is kept for longer.
"""


class Cluster:
    """The four services and both fronts as deployments, in place of the suite's own processes."""

    def __init__(
        self, suite: Suite, names: NameServer, *, pre_stop_s: float, settings: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.told = Told()
        self.manifests = {service: Manifest.of(service) for service in DEPLOYED}
        self._suite = suite
        self._names = names
        self._pre_stop_s = pre_stop_s
        self._settings = settings
        self.roots = dict.fromkeys(DEPLOYED, ROOT)
        """The code that new pods of a service run."""
        self._pods: dict[str, list[Pod]] = {service: [] for service in DEPLOYED}
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
        await self.replace(service, await self.launch(service))

    async def replace(self, service: str, first: Pod) -> None:
        """Replace each pod of a service by a new one, of which the `first` runs already."""
        for number, old in enumerate([pod for pod in self._pods[service] if pod is not first]):
            await self.join(first if number == 0 else await self.launch(service))
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
            await asyncio.gather(*(self._add(service) for service in DEPLOYED for _ in range(REPLICAS)))
            async with self._balancers():
                yield self
            pods = [pod for service in DEPLOYED for pod in self._pods[service]]
            await asyncio.gather(*(self._remove(pod) for pod in pods))
        finally:
            for service in DEPLOYED:
                for pod in self._pods[service]:
                    await pod.kill()

    @asynccontextmanager
    async def _balancers(self) -> AsyncIterator[None]:
        """Listen where the suite's own processes did, for the stand-in and for browsers."""
        async with AsyncExitStack() as stack:
            for service, port in (("gateway", "webhooks"), *((front, front) for front in FRONTS)):
                is_front = service in FRONTS
                balancer = _balancer(
                    self._suite.ports[port],
                    partial(self.ready, service),
                    self.manifests[service].ports["http" if is_front else port],
                    tries=REPLICAS if is_front else 1,
                )
                await stack.enter_async_context(balancer)
            yield

    def _target(self, service: str) -> str:
        return self._names.target(f"{service}.{NAMESPACE}", port=self.manifests[service].ports["grpc"])

    async def launch(self, service: str) -> Pod:
        """Start a new pod of a service."""
        environment = self._suite.env_for(service) | {
            name: self._target(peer)
            for peer in SERVICES
            if (name := f"BATZEN_{peer.upper()}_ADDRESS") in self._suite.env_for(service)
        }
        environment |= {"BATZEN_PARTING_S": str(PARTING_S)} if service in FRONTS else {}
        environment |= self._settings.get(service, {})
        pod = Pod(
            service,
            self.manifests[service],
            address=next(self._free),
            environment=environment,
            log_file=self._suite.logs / f"{service}.log",
            told=self.told,
            root=self.roots[service],
        )
        self._pods[service].append(pod)
        await pod.launch()
        return pod

    async def join(self, pod: Pod) -> None:
        """Wait until a pod is ready, and give it its name."""
        await pod.until_ready()
        pod.probe(lambda: self._publish(pod.service))
        self._publish(pod.service)

    async def _add(self, service: str) -> None:
        await self.join(await self.launch(service))

    async def _remove(self, pod: Pod) -> None:
        pod.is_ready = False
        self._publish(pod.service)
        await pod.end(pre_stop_s=self._pre_stop_s)
        self._pods[pod.service].remove(pod)

    def _publish(self, service: str) -> None:
        addresses = [pod.address for pod in self._pods[service] if pod.is_ready]
        self._names.publish(f"{service}.{NAMESPACE}", addresses)


@asynccontextmanager
async def _balancer(port: int, ready: Callable[[], Sequence[str]], pod_port: int, *, tries: int) -> AsyncIterator[None]:
    """Pass each connection to a pod that is ready, in turn; one that is made stays where it is.

    Of pods that refuse it so many are tried.
    """
    turns = itertools.count()
    tasks: set[asyncio.Task[None]] = set()

    async def connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for left in reversed(range(tries)):
            addresses = ready()
            try:
                return await asyncio.open_connection(addresses[next(turns) % len(addresses)], pod_port)
            except ConnectionRefusedError:
                if not left:
                    raise
        raise AssertionError("nothing was tried")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        ends = [writer]
        try:
            pod_reader, pod_writer = await connected()
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
    """Pass on until it is ended. OSError when it is cut, which is the end of both ways, or one side waited for ever."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


@asynccontextmanager
async def in_a_cluster(suite: Suite, **settings: Mapping[str, str]) -> AsyncIterator[Cluster]:
    """Run pods in place of the suite's processes; `settings` are further ones of a service, by its name."""
    for service in (*FRONTS, *SERVICES):
        await suite.stop(service)
    async with name_server() as names:
        cluster = Cluster(suite, names, pre_stop_s=PRE_STOP_S, settings=settings)
        async with cluster.running():
            yield cluster

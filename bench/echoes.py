"""The peers as processes beside the suite, and how fast they echo."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from grpc import aio

from batzen._channel import make_channel
from batzen.status.v1 import status_pb2
from bench.figures import percentile
from bench.machine import process
from bench.peers import ECHO, HOST, environment, sample
from local.issuer import Issuer
from local.ports import free_ports
from local.processes import ROOT, Child, own_interpreter
from services.runtime.rpc.identity import SERVICE

ALONE: Final = 600
TOGETHER: Final = 3_000
CALLERS: Final = 16
TIMEOUT_S: Final = 5.0
START_S: Final = 30.0

Call = Callable[[status_pb2.Payment], Awaitable[status_pb2.Payment]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Echoes:
    """One round of a peer."""

    p50_s: float
    p99_s: float
    """Of one call at a time."""
    cpu_s: float
    """Of the server for one of many calls at once."""
    per_s: float


class Peer:
    """A peer that serves, and a channel to it."""

    def __init__(self, child: Child, *, address: str, channel: aio.Channel) -> None:
        self.child = child
        self.address = address
        self.port = int(address.rpartition(":")[2])
        self.channel = channel
        self._echo: Call = channel.unary_unary(
            ECHO,
            request_serializer=status_pb2.Payment.SerializeToString,
            response_deserializer=status_pb2.Payment.FromString,
        )

    async def echo(self) -> float:
        """Return how long one call takes."""
        payment = sample()
        began = time.perf_counter()
        await self._echo(payment, timeout=TIMEOUT_S)  # type: ignore[call-arg]
        return time.perf_counter() - began

    async def echoes(self) -> Echoes:
        """Measure a round."""
        payment = sample()
        waited = [await self.echo() for _ in range(ALONE)]
        used, began = process(self.child.pid), time.perf_counter()
        before = used()
        left = iter(range(TOGETHER))

        async def call() -> None:
            for _ in left:
                await self._echo(payment, timeout=TIMEOUT_S)  # type: ignore[call-arg]

        await asyncio.gather(*(call() for _ in range(CALLERS)))
        return Echoes(
            p50_s=percentile(waited, 0.5),
            p99_s=percentile(waited, 0.99),
            cpu_s=(used() - before) / TOGETHER,
            per_s=TOGETHER / (time.perf_counter() - began),
        )


@asynccontextmanager
async def running_peers(issuer: Issuer, *kinds: str, logs: Path, root: Path = ROOT) -> AsyncIterator[dict[str, Peer]]:
    """Run peers of the given kinds, `bare` or `factory`, while inside: those of the checkout at `root`."""
    token = issuer.mint("bench", roles={SERVICE})
    ports = iter(free_ports().values())

    def metadata() -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {token}"),)

    async with AsyncExitStack() as stack:
        peers = {}
        for kind in kinds:
            port = next(ports)
            child = Child(
                "bench.peers",
                kind,
                str(port),
                environment=environment(issuer.jwks),
                log_file=logs / f"{kind}.log",
                spawn=partial(own_interpreter, root=root),
            )
            await child.start()
            stack.push_async_callback(child.kill)
            address = f"{HOST}:{port}"
            channel: Any = (
                make_channel(address, timeout_s=TIMEOUT_S, metadata=metadata)
                if kind == "factory"
                else aio.insecure_channel(address)
            )
            peers[kind] = Peer(child, address=address, channel=await stack.enter_async_context(channel))
        async with asyncio.timeout(START_S):
            await asyncio.gather(*(peer.channel.channel_ready() for peer in peers.values()))
        yield peers

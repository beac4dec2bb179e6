"""Who fans changes out: ours in each of its ways, peers, limits; and how a light client watches each."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from bench.light.http2 import Header
from bench.light.sockets import RawWatches, SocketIO
from bench.light.tally import Tally
from bench.light.watching import ManyWatches, PaymentWatches
from bench.pinned import bare_environment, python
from bench.status import HOST
from local.processes import ROOT

CONNECTIONS: Final = 20
"""As many processes of callers; what they watch is spread over them."""
CALLS_PER_CONNECTION: Final = 250
"""A connection takes 256; callers with more watches of one payment each open another."""
OPENING_AT_ONCE: Final = 100
"""Watches that are asked for and have not begun, where each is a call or a connection."""
NODE_MODULES: Final = ROOT / ".batzen" / "node" / "node_modules"
NO_NODE: Final = "no Node here"
"""What stands in its place on machines without it, or without npm to install socket.io."""
NODE_SERVER: Final = ROOT / "bench" / "node" / "server.js"


class Connected(Protocol):
    """A connection of a light client."""

    def close(self) -> None: ...


Headers = Callable[[int], Sequence[Header]]
"""Returns what the caller with that number sends along."""
Open = Callable[[Tally, int, Sequence[str], Headers], Awaitable[list[Connected]]]
"""Watches the payments at a port, each as often as it is named; returns once all watches have begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A server, and a way to watch at it."""

    name: str
    command: Callable[[int], Sequence[str]] | None
    """Returns what to run for it to listen on a port; None for ours."""
    watch: Open
    begins_at_per_s: float
    """Changes per second with which the search for its peak begins."""
    environment: Mapping[str, str] | None = None


async def _connect(factory: Callable[[], Any], port: int) -> Any:
    _, protocol = await asyncio.get_running_loop().create_connection(factory, HOST, port)
    return protocol


def connections_for(watches: int) -> int:
    """Return over how many connections the callers spread that many calls."""
    return max(CONNECTIONS, -(-watches // CALLS_PER_CONNECTION))


async def _payments(
    tally: Tally, port: int, names: Sequence[str], headers: Headers, *, latest_only: bool = False, alone: bool = False
) -> list[Connected]:
    """Watch with a `WatchPayment` each, on shared connections or each on one `alone`."""
    count = len(names) if alone else connections_for(len(names))
    connections: list[Any] = []
    if not alone:
        for number in range(count):
            factory = partial(PaymentWatches, tally, metadata=headers(number % CONNECTIONS))
            connections.append(await _connect(factory, port))
    for number, name in enumerate(names):
        await tally.until_begun(number - OPENING_AT_ONCE)
        if alone:
            factory = partial(PaymentWatches, tally, metadata=headers(number % CONNECTIONS))
            connections.append(await _connect(factory, port))
        connections[number % count].watch(name, latest_only=latest_only)
    await tally.until_begun(len(names))
    return connections


async def _many(
    tally: Tally, port: int, names: Sequence[str], headers: Headers, *, latest_only: bool = False
) -> list[Connected]:
    """Watch with a `WatchMany` per connection."""
    connections: list[Any] = []
    for number in range(CONNECTIONS):
        connection = await _connect(partial(ManyWatches, tally, metadata=headers(number)), port)
        connection.watch(names[number::CONNECTIONS], latest_only=latest_only)
        connections.append(connection)
    await tally.until_begun(len(names))
    return connections


async def _sockets(
    tally: Tally, port: int, names: Sequence[str], _: Headers, *, shared: bool = False
) -> list[Connected]:
    """Watch with a socket each, or with many rooms a socket."""
    connections: list[Connected] = []
    rooms = [names[number::CONNECTIONS] for number in range(CONNECTIONS)] if shared else [[name] for name in names]
    for number, joined in enumerate(rooms):
        if not shared:
            await tally.until_begun(number - OPENING_AT_ONCE)
        connections.append(await _connect(partial(SocketIO, tally, joined), port))
    await tally.until_begun(len(names))
    return connections


async def _raw(tally: Tally, port: int, names: Sequence[str], _: Headers) -> list[Connected]:
    """Watch with a TCP connection each."""
    connections: list[Any] = []
    for number, name in enumerate(names):
        await tally.until_begun(number - OPENING_AT_ONCE)
        connection = await _connect(partial(RawWatches, tally), port)
        connection.watch(name)
        connections.append(connection)
    await tally.until_begun(len(names))
    return connections


def node() -> Path | None:
    """Return Node's program; None if it is not on this machine, or socket.io was not installed beside it."""
    found = shutil.which("node")
    return Path(found) if found is not None and NODE_MODULES.is_dir() else None


def _node_command(port: int) -> list[str]:
    return [str(node()), str(NODE_SERVER), str(port)]


_NODE: Final[dict[str, Any]] = {
    "command": _node_command,
    "environment": {"PATH": os.environ["PATH"], "NODE_PATH": str(NODE_MODULES)},
}
_SOCKETIO: Final[dict[str, Any]] = {"command": lambda port: python("bench.servers.python_socketio", port, "websockets")}
_SANSIO: Final[dict[str, Any]] = {
    "command": lambda port: python("bench.servers.python_socketio", port, "websockets-sansio")
}
_BARE: Final[dict[str, Any]] = {"command": lambda port: python("bench.servers.bare", port)}
_RAW: Final[dict[str, Any]] = {"command": lambda port: python("bench.servers.raw", port)}

SUBJECTS: Final = {
    subject.name: subject
    for subject in (
        Subject(name="many", command=None, watch=_many, begins_at_per_s=20_000),
        Subject(name="many-latest", command=None, watch=partial(_many, latest_only=True), begins_at_per_s=20_000),
        Subject(name="single", command=None, watch=_payments, begins_at_per_s=6_000),
        Subject(name="single-latest", command=None, watch=partial(_payments, latest_only=True), begins_at_per_s=6_000),
        Subject(name="single-alone", command=None, watch=partial(_payments, alone=True), begins_at_per_s=6_000),
        Subject(name="bare-many", watch=_many, begins_at_per_s=30_000, **_BARE),
        Subject(name="bare-single", watch=_payments, begins_at_per_s=8_000, **_BARE),
        Subject(name="socketio", watch=_sockets, begins_at_per_s=2_500, **_SOCKETIO),
        Subject(name="socketio-sansio", watch=_sockets, begins_at_per_s=2_500, **_SANSIO),
        Subject(name="node", watch=_sockets, begins_at_per_s=12_000, **_NODE),
        Subject(name="node-rooms", watch=partial(_sockets, shared=True), begins_at_per_s=20_000, **_NODE),
        Subject(name="raw", watch=_raw, begins_at_per_s=20_000, **_RAW),
    )
}


def is_here(subject: Subject) -> bool:
    """Whether the subject can be measured on this machine."""
    return subject.command is not _node_command or node() is not None


def environment_of(subject: Subject) -> Mapping[str, str]:
    return bare_environment() if subject.environment is None else subject.environment

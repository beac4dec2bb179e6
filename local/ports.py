"""The ports of the suite: the fixed ones of `make up`, or free ones."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Mapping
from typing import Final

FIXED: Final[Mapping[str, int]] = {
    "orchestrator": 7001,
    "pricing": 7002,
    "status": 7003,
    "gateway": 7004,
    "webhooks": 7104,
    "sandbox": 7200,
    "bff": 7080,
    "console": 7090,
    "login": 7091,
    "orchestrator-health": 7301,
    "pricing-health": 7302,
    "status-health": 7303,
    "gateway-health": 7304,
    "bff-health": 7305,
    "console-health": 7306,
    "orchestrator-metrics": 7201,
    "pricing-metrics": 7202,
    "status-metrics": 7203,
    "gateway-metrics": 7204,
    "bff-metrics": 7205,
    "console-metrics": 7206,
}
"""Each can be set by BATZEN_<NAME>_PORT, such as BATZEN_WEBHOOKS_PORT."""
FREE: Final = range(8_192, 20_000)
"""Below the ephemeral range, where thousands of client sockets take a listener's port, and below the database's."""
PARTS: Final = 16
"""Processes that start suites at the same moment look in parts of the range: between a look and its use is a second."""
PORT_MAX: Final = 65_535
HOST: Final = "127.0.0.1"


class PortError(Exception):
    """A port cannot be used; the message says which, and what to do."""


def free_ports() -> dict[str, int]:
    """Return a port for each name that nobody listens on now."""
    system = random.SystemRandom()  # tests seed the other one alike in all their processes
    mine = FREE[os.getpid() % PARTS :: PARTS]
    candidates = iter(system.sample(mine, len(mine)))
    return {name: next(port for port in candidates if _is_free(port)) for name in FIXED}


def fixed_ports(environ: Mapping[str, str], chosen: Mapping[str, int]) -> dict[str, int]:
    """Return the fixed ports, changed by the environment and then by what is `chosen`.

    Raises `PortError` for one that is taken, used twice or no port number.
    """
    ports = {**FIXED, **_from_environ(environ), **chosen}
    if unknown := set(ports) - set(FIXED):
        raise PortError(f"There is no port named {', '.join(sorted(unknown))}; there are {', '.join(FIXED)}.")
    for name, port in ports.items():
        if not 0 < port <= PORT_MAX:
            raise PortError(f"{port} is no port number ({name}).")
        if twice := [other for other in ports if other != name and ports[other] == port]:
            raise PortError(f"Port {port} is asked for twice: {name} and {twice[0]}.")
    if taken := [name for name, port in ports.items() if not _is_free(port)]:
        name, *others = taken
        more = f"\nSo are those of {', '.join(others)}." if others else ""
        raise PortError(
            f"Port {ports[name]} ({name}) is taken, perhaps by another `make up`. Stop that, or choose another port: "
            f"{variable(name)}=… or --port {name}=…{more}"
        )
    return ports


def variable(name: str) -> str:
    """Return the environment variable that sets the port `name`."""
    return f"BATZEN_{name.upper().replace('-', '_')}_PORT"


def _from_environ(environ: Mapping[str, str]) -> dict[str, int]:
    ports = {}
    for name in FIXED:
        text = environ.get(variable(name), "").strip()
        if text:
            if not (text.isascii() and text.isdigit()):
                raise PortError(f"{variable(name)} is no port number: {text!r}.")
            ports[name] = int(text)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a closed connection takes no port
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False

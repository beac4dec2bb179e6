"""The ports of the suite: the fixed ones of `make up`, or free ones."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

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
"""Each can be set by BATZEN_<NAME>_PORT, such as BATZEN_WEBHOOKS_PORT; all are moved together by BATZEN_PORT_BASE."""
BASE: Final = 7_000
"""What `FIXED` counts from; `--port-base` names another."""
BASE_VARIABLE: Final = "BATZEN_PORT_BASE"
UNPRIVILEGED_MIN: Final = 1_024
"""Below, a port is the system's; what is asked of Linux is in `net.ipv4.ip_unprivileged_port_start`."""
BASES: Final = range(8_000, 20_000, 1_000)
"""Those that are proposed instead of one that is taken, below the range of client sockets."""
FREE: Final = range(8_192, 20_000)
"""Below the ephemeral range, where thousands of client sockets take a listener's port, and below the database's."""
PARTS: Final = 32
"""Processes that start suites look in parts of the range, each in its own: between a look and its use are seconds, and
what is started anew comes back to the ports that it had."""
CLAIMS: Final = "batzen-ports"
"""What begins the names by which parts are claimed."""
PORT_MAX: Final = 65_535
HOST: Final = "127.0.0.1"


class PortError(Exception):
    """A port cannot be used; the message says which, and what to do."""


def free_ports(*, besides: Collection[int] = ()) -> dict[str, int]:
    """Return a port for each name that nobody listens on now, and that is none of `besides`.

    Raises `PortError` where this process's part of the range has not as many.
    """
    system = random.SystemRandom()  # tests seed the other one alike in all their processes
    mine = [port for port in FREE[_part() :: PARTS] if port not in besides]
    free = (port for port in system.sample(mine, len(mine)) if _error_of(port) is None)
    ports = dict(zip(FIXED, free, strict=False))
    if len(ports) < len(FIXED):
        raise PortError(f"Of the ports from {FREE.start} to {FREE.stop} too few are free for one more suite.")
    return ports


def _part() -> int:
    """Return the part of the range that is this process's for as long as it lives."""
    global _claimed  # noqa: PLW0603 a process has one, whoever asks
    if _claimed is None or _claimed.owner != os.getpid():
        _claimed = _claim()
    return _claimed.part


def _claim() -> _Claim:
    first = os.getpid() % PARTS
    for part in (*range(first, PARTS), *range(first)):
        # A name that goes with the process, in the namespace that the ports are in.
        held = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            held.bind(f"\0{CLAIMS}-{part}")
            return _Claim(part, os.getpid(), held)
        held.close()
    return _Claim(first, os.getpid(), None)  # so many start suites at once that two share a part


class _Claim(NamedTuple):
    part: int
    owner: int
    held: socket.socket | None


_claimed: _Claim | None = None


def fixed_ports(environ: Mapping[str, str], chosen: Mapping[str, int], base: int | None = None) -> dict[str, int]:
    """Return the fixed ports, all moved to `base`, then changed by the environment, then by what is `chosen`.

    Raises `PortError` for one that is taken, used twice, the system's, or no port number.
    """
    named = _from_environ(environ)
    ports = {**_moved(base if base is not None else _number(environ, BASE_VARIABLE, BASE)), **named, **chosen}
    if unknown := set(ports) - set(FIXED):
        raise PortError(f"There is no port named {', '.join(sorted(unknown))}; there are {', '.join(FIXED)}.")
    for name, port in ports.items():
        if not 0 < port <= PORT_MAX:
            raise PortError(f"{port} is no port number ({name}): 1 to {PORT_MAX}.")
        if twice := [other for other in ports if other != name and ports[other] == port]:
            raise PortError(f"Port {port} is asked for twice: {name} and {twice[0]}.")
    _refuse_unusable(ports)
    return ports


def _refuse_unusable(ports: Mapping[str, int]) -> None:
    """Raise `PortError` with what to do if a port cannot be listened on."""
    errors = {name: error for name, port in ports.items() if (error := _error_of(port)) is not None}
    if not errors:
        return
    name, *others = errors
    alike = [other for other in others if errors[other] == errors[name]]
    more = f"\nSo it is with {', '.join(f'{other} {ports[other]}' for other in alike)}." if alike else ""
    if errors[name] == errno.EACCES:
        raise PortError(
            f"Port {ports[name]} ({name}) is for the system alone: as who you are, one from {UNPRIVILEGED_MIN} on is "
            f"needed.\nChoose another: --port {name}=…, or {variable(name)}=…{more}"
        )
    if errors[name] != errno.EADDRINUSE:
        raise PortError(f"Port {ports[name]} ({name}) cannot be used: {os.strerror(errors[name])}.{more}")
    raise PortError(
        f"Port {ports[name]} ({name}) is taken, perhaps by another `make up`.\nStop that, or move all ports together: "
        f"{_proposal()}\nOr this one alone: --port {name}=…, or {variable(name)}=…{more}"
    )


def _proposal() -> str:
    """Return how to move all ports to where none is taken."""
    base = next((base for base in BASES if all(_error_of(port) is None for port in _moved(base).values())), BASES[0])
    return f"{BASE_VARIABLE}={base} make up, or up --port-base {base}"


def _moved(base: int) -> dict[str, int]:
    most = PORT_MAX - (max(FIXED.values()) - BASE)
    if not 0 < base <= most:
        raise PortError(f"{base} is no base of the ports: 1 to {most}, such as 8000.")
    return {name: port - BASE + base for name, port in FIXED.items()}


def variable(name: str) -> str:
    """Return the environment variable that sets the port `name`."""
    return f"BATZEN_{name.upper().replace('-', '_')}_PORT"


def _from_environ(environ: Mapping[str, str]) -> dict[str, int]:
    given = [name for name in FIXED if environ.get(variable(name), "").strip()]
    return {name: _number(environ, variable(name), 0) for name in given}


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise PortError(f"{name} is no port number: {text!r}.")
    return int(text)


def _error_of(port: int) -> int | None:
    """Return why nobody can listen on a port now, as an `errno`; None if one can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a closed connection takes no port
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.errno or errno.EADDRINUSE
    return None

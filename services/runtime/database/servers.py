"""The servers that a database URL names, and a connection to the one of them that takes writes.

One form names several, and works in every place that connects, in `psql` too:

    postgresql+asyncpg://role:password@/database?host=h1,h2,h3&port=5432,5432,5432&target_session_attrs=read-write

Whoever leads may change at any time, so each new connection finds out: a server that only reads is passed over, and one
that does not answer is not waited for before the next is tried. See docs/database.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from services.runtime.process.settings import Form, Secret

PORT: Final = 5432
PORT_MAX: Final = 65_535
PORT_DIGITS_MAX: Final = 5
TLS_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""PostgreSQL's own. Of another, as of a port that is none, the driver would complain at the next connection only."""
DRIVERS: Final = ("postgresql+asyncpg", "postgresql")
WRITING: Final = "read-write"
NEXT_AFTER_S: Final = 0.25
"""How long one server may be silent before the next is asked beside it, as between the addresses of a host (RFC 8305).

A host that is down answers nothing, and a probe of readiness has one second."""


class NobodyWrites(ConnectionError):
    """Each server that answers only reads: a standby is about to be promoted."""


def servers_of(url: str) -> Sequence[tuple[str, int]]:
    """Return host and port of each server, in order. Raises ValueError, without the URL, for another form."""
    made = _made(url)
    hosts = _in_one_place("host", made.host, made.query.get("host")) or ["localhost"]
    ports = _in_one_place("port", made.port, made.query.get("port")) or [str(PORT)] * len(hosts)
    if not all(hosts) or any(host.count(":") == 1 for host in hosts):
        raise ValueError("has a host that is empty or has its port with it: write ?host=h1,h2&port=5432,5432")
    if len(ports) != len(hosts) or not all(_is_port(port) for port in ports):
        raise ValueError(f"names {len(hosts)} hosts and {len(ports)} ports: each host needs a port, a number")
    if made.query.get("sslmode", TLS_MODES[0]) not in TLS_MODES:
        raise ValueError(f"has another sslmode than {', '.join(TLS_MODES)}")
    if made.query.get("target_session_attrs", WRITING if len(hosts) == 1 else None) != WRITING:
        raise ValueError(f"lacks target_session_attrs={WRITING}, without which some take a standby for the leader")
    return [(host, int(port)) for host, port in zip(hosts, ports, strict=True)]


def place_of(url: str) -> str:
    """Return servers and database of a URL, for people."""
    servers = ",".join(f"{host}:{port}" for host, port in servers_of(url))
    return f"{servers}/{make_url(url).database}"


async def connect_writing(url: str, *, timeout_s: float, **arguments: Any) -> asyncpg.Connection:
    """Connect to the server that takes writes, whichever of them that is now.

    Raises `NobodyWrites` if all that answer only read, TimeoutError, or what the driver raises if there is nothing
    better to say.
    """
    waiting = [_dsn(url, host, port) for host, port in servers_of(url)]
    attempts: list[asyncio.Task[asyncpg.Connection]] = []
    running: set[asyncio.Task[asyncpg.Connection]] = set()
    failures: list[BaseException] = []
    chosen: asyncio.Task[asyncpg.Connection] | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while waiting or running:
                if waiting:
                    attempts.append(asyncio.create_task(_connect(waiting.pop(0), arguments)))
                    running.add(attempts[-1])
                patience_s = NEXT_AFTER_S if waiting else None
                done, running = await asyncio.wait(running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                chosen = next((attempt for attempt in done if attempt.exception() is None), None)
                if chosen is not None:
                    return chosen.result()
                failures += [failure for attempt in done if (failure := attempt.exception()) is not None]
        raise min(failures, key=_how_little_it_says)
    finally:
        for attempt in attempts:
            if attempt is not chosen:
                attempt.add_done_callback(_drop)
                attempt.cancel()


async def _connect(dsn: str, arguments: dict[str, Any]) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(dsn, target_session_attrs=WRITING, **arguments)
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise NobodyWrites(NobodyWrites.__doc__) from error


def _drop(attempt: asyncio.Task[asyncpg.Connection]) -> None:
    """End what another server was quicker than."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()


def _how_little_it_says(failure: BaseException) -> int:
    """Rank failures: what a server has against us, then that it only reads, then that it is away."""
    if isinstance(failure, asyncpg.PostgresError) and not isinstance(failure, asyncpg.CannotConnectNowError):
        return 0
    return 1 if isinstance(failure, NobodyWrites) else 2


def _dsn(url: str, host: str, port: int) -> str:
    """Return `url` with one of its servers, as asyncpg wants it."""
    bare = make_url(url).set(drivername="postgresql").difference_update_query(["host", "port", "target_session_attrs"])
    one = (
        bare.set(port=port).update_query_dict({"host": host})
        if host.startswith("/")
        else bare.set(host=host, port=port)
    )
    return one.render_as_string(hide_password=False)


def _made(url: str) -> URL:
    if "," in url.partition("?")[0].rpartition("@")[2].partition("/")[0]:
        raise ValueError("names several hosts after the @: write ?host=h1,h2&port=5432,5432")
    try:
        made = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"is not {DRIVERS[0]}://role:…@host:port/database") from None
    if made.drivername not in DRIVERS:
        raise ValueError(f"does not begin with {DRIVERS[0]}://")
    return made


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[: PORT_DIGITS_MAX + 1]) <= PORT_MAX


def _in_one_place(name: str, after_at: object, in_query: str | tuple[str, ...] | None) -> list[str]:
    """Return what a URL says of its hosts or ports, in the one place or the other."""
    if isinstance(in_query, tuple):
        raise ValueError(f"repeats {name}=: write one list, ?host=h1,h2&port=5432,5432")
    if after_at and in_query:
        raise ValueError(f"names a {name} after the @ and another in {name}=")
    return str(in_query or after_at).split(",") if in_query or after_at else []


def _parsed(value: str) -> str:
    servers_of(value)
    return Secret(value)


database_url: Final = Form(_parsed, f"{DRIVERS[0]}://role:…@host:port/database, or one for several hosts")
"""The form of a setting."""

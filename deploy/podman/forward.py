"""A port of this machine that leads to one which a container has on its own loopback, as `kubectl port-forward` does.

The stand-in listens there alone, since it checks no secrets; a payer's bank page is on it. So does where operators log
in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

RELAY: Final = """
import os, socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def inwards():
    while data := os.read(0, 65536):
        there.sendall(data)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=inwards, daemon=True).start()
with open(1, "wb") as answers:
    while data := there.recv(65536):
        answers.write(data)
        answers.flush()
os._exit(0)
"""
"""Runs inside: what it reads goes to the port, what the port answers it writes, until the port is closed."""
CHUNK_BYTES: Final = 65_536
CONNECTIONS_MAX: Final = 64
"""At once, each a process: a person's browser opens six."""


@asynccontextmanager
async def forwarding(
    execute: Sequence[str], environ: Mapping[str, str], *, host: str, port: int, inside_port: int
) -> AsyncIterator[None]:
    """Forward while inside. `execute` runs a program in the container with its standard input, given its arguments."""
    room = asyncio.Semaphore(CONNECTIONS_MAX)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with room:
            relay = await asyncio.create_subprocess_exec(
                *execute, "python", "-c", RELAY, str(inside_port),
                env=dict(environ), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert relay.stdin is not None  # noqa: S101 both are pipes
            assert relay.stdout is not None  # noqa: S101
            there = asyncio.ensure_future(_copy(reader, relay.stdin))
            await _copy(relay.stdout, writer)
            there.cancel()
            with contextlib.suppress(ProcessLookupError):
                relay.kill()
            await relay.wait()

    server = await asyncio.start_server(forward, host, port)
    try:
        yield
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        writer.close()

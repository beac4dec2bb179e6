"""The way to a port that a container has on its own loopback; here without a container between."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.podman.forward import forwarding
from local.ports import free_ports

MUCH = b"0123456789abcdef" * 65_536


@asynccontextmanager
async def shouting() -> AsyncIterator[int]:
    """A server that answers what it read once it has read all, in capitals, and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_what_is_sent_arrives_whole_and_so_does_the_answer() -> None:
    outside = free_ports()["sandbox"]
    async with (
        shouting() as inside,
        forwarding((), os.environ, host="127.0.0.1", port=outside, inside_port=inside),
    ):

        async def exchange() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", outside)
            writer.write(MUCH)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

        assert await asyncio.gather(exchange(), exchange()) == [MUCH.upper()] * 2


async def test_a_port_that_nobody_listens_on_ends_the_connection() -> None:
    outside = free_ports()["sandbox"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # held, so that nobody else comes to listen there
        inside = nobody.getsockname()[1]
        async with forwarding((), os.environ, host="127.0.0.1", port=outside, inside_port=inside):
            reader, writer = await asyncio.open_connection("127.0.0.1", outside)

            assert await reader.read() == b""
            writer.close()

"""The way to a port that a container has on its own loopback; here without a container between."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from deploy.podman.forward import forwarding

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


async def test_what_is_sent_arrives_whole_and_so_does_the_answer(unused_tcp_port: int) -> None:
    async with (
        shouting() as inside,
        forwarding((), os.environ, host="127.0.0.1", port=unused_tcp_port, inside_port=inside),
    ):

        async def exchange() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
            writer.write(MUCH)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer

        assert await asyncio.gather(exchange(), exchange()) == [MUCH.upper()] * 2


async def test_a_port_that_nobody_listens_on_ends_the_connection(
    unused_tcp_port_factory: Callable[[], int],
) -> None:
    outside, nobody = unused_tcp_port_factory(), unused_tcp_port_factory()
    async with forwarding((), os.environ, host="127.0.0.1", port=outside, inside_port=nobody):
        reader, writer = await asyncio.open_connection("127.0.0.1", outside)

        assert await reader.read() == b""
        writer.close()

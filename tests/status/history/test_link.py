"""The proxy that stands for the network does to connections what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.eventually import WITHIN_S
from tests.status.history.harness.link import HOST, Link

A_WHILE_S = 0.1
"""Long enough for bytes on loopback to come if they were to."""


@asynccontextmanager
async def echo_behind_a_link() -> AsyncIterator[Link]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, HOST, 0)
    try:
        async with Link.to(server.sockets[0].getsockname()[1]) as link:
            yield link
    finally:
        server.close()


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    async with echo_behind_a_link() as link:
        yield link


async def connect(link: Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(HOST, link.port)


async def read(reader: asyncio.StreamReader, number: int) -> bytes:
    async with asyncio.timeout(WITHIN_S):
        return await reader.readexactly(number)


async def nothing_comes(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(A_WHILE_S):
            await reader.readexactly(1)
    except TimeoutError:
        return True
    return False


async def test_it_passes_all_bytes_on_both_ways(link: Link) -> None:
    reader, writer = await connect(link)
    sent = bytes(range(256)) * 4_000

    writer.write(sent)

    assert await read(reader, len(sent)) == sent
    writer.close()


async def test_silence_keeps_what_is_sent_for_later_on_connections_old_and_new(link: Link) -> None:
    old_reader, old_writer = await connect(link)
    link.fall_silent()
    new_reader, new_writer = await connect(link)
    for writer in (old_writer, new_writer):
        writer.write(b"hello")

    assert await nothing_comes(old_reader)
    assert await nothing_comes(new_reader)
    link.heal()
    assert await read(old_reader, 5) == await read(new_reader, 5) == b"hello"


async def test_a_slow_link_keeps_the_order(link: Link) -> None:
    reader, writer = await connect(link)
    link.latency_s = A_WHILE_S
    writer.write(b"one")

    assert await nothing_comes(reader)
    link.heal()
    writer.write(b"two")
    assert await read(reader, 6) == b"onetwo"


async def test_a_cut_link_ends_in_the_middle(link: Link) -> None:
    reader, writer = await connect(link)
    link.cut(after_bytes=7)
    writer.write(b"0123456789")

    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(asyncio.IncompleteReadError) as cut:
            await reader.readexactly(10)
    assert cut.value.partial == b"0123456"


async def test_a_reset_is_a_reset(link: Link) -> None:
    reader, writer = await connect(link)
    writer.write(b"x")
    await read(reader, 1)

    link.reset()

    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)


async def test_a_closed_link_lets_nobody_in(link: Link) -> None:
    async def wait_to_be_served() -> None:
        reader, _ = await connect(link)
        await read(reader, 1)

    link.is_closed = True
    with pytest.raises(ConnectionError):
        await wait_to_be_served()
    link.heal()
    reader, writer = await connect(link)
    writer.write(b"x")

    assert await read(reader, 1) == b"x"

"""The limit of asyncio: bare TCP on uvloop, each message one write per watcher. `python -m bench.servers.raw PORT`"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from typing import cast

import uvloop

from bench.light.tally import stamp
from bench.servers.control import MESSAGE_BYTES, controlled, payment_id

_watching: defaultdict[str, list[asyncio.WriteTransport]] = defaultdict(list)


class Watches(asyncio.Protocol):
    """Each line names a payment to watch."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by inheritance
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            name = line.decode()
            _watching[name].append(self._transport)
            self._transport.write(_message(name))


def _message(name: str) -> bytes:
    body = f"{name} {stamp()} ".encode().ljust(MESSAGE_BYTES, b"x")
    return len(body).to_bytes(4, "big") + body


def _publish(number: int) -> None:
    name = payment_id(number)
    message = _message(name)
    for transport in _watching.get(name, ()):
        transport.write(message)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Watches, "127.0.0.1", port, backlog=4_096)
    async with server:
        await controlled(_publish)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

"""Receivers of webhooks in a process of their own: good ones, and the bad ones that are named.

Its first line says their ports. A line on its input asks how long what arrived since the last one took, in nanoseconds
from the time that each body says; the answer has those of the good receivers, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Final

from tests.orchestrator import receivers
from tests.orchestrator.receivers import Answer, Endless, Received, receiver, says

ELSEWHERE: Final = "location: http://127.0.0.1:9/\r\n"
BAD: Final[dict[str, Answer]] = {
    "500": says("500 Internal Server Error"),
    "hangs": receivers.hangs,
    "closes": receivers.closes,
    "redirects": says("307 Temporary Redirect", headers=ELSEWHERE),
    "10 GB": Endless(status="500 Internal Server Error"),
    "private": says("200 OK"),  # its address is what is refused
}


async def main(names: list[str]) -> None:
    """Serve until the input ends: for each name the bad receiver of it, or a good one."""
    took_ns: list[int] = []

    async def takes(received: Received, writer: asyncio.StreamWriter) -> None:
        took_ns.append(time.monotonic_ns() - int(json.loads(received.body)["data"]["values"]["begin_ns"]))
        await says("200 OK")(received, writer)

    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(receiver(BAD.get(name, takes))) for name in names]
        print(json.dumps([one.port for one in made]), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(took_ns), flush=True)
            took_ns.clear()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

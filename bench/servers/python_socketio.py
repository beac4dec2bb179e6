"""The predecessor: python-socketio on uvicorn and uvloop, websockets only.

`python -m bench.servers.python_socketio PORT websockets|websockets-sansio`. Its own pings are off, and so is
compression: it does what ours does and nothing else.

The second argument is uvicorn's implementation of websockets. `websockets` is the one that such servers have run on for
years, and that the goals were set beside: 49 KiB a socket. uvicorn deprecates it; `websockets-sansio`, which it chooses
today unless told otherwise, is lighter. Both are measured, so that neither choice flatters ours.
"""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from collections import Counter
from typing import Any, Final

import socketio
import uvicorn
import uvloop
from uvicorn.config import UvicornDeprecationWarning

from bench.light.tally import stamp
from bench.servers.control import FILLER, controlled, payment_id

NEVER_S: Final = 3_600
START_POLL_S: Final = 0.02

_server = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    ping_interval=NEVER_S,
    ping_timeout=NEVER_S,
    logger=False,
    engineio_logger=False,
)
_revisions: Counter[str] = Counter()


@_server.event  # type: ignore[untyped-decorator]
async def watch(session_id: str, wanted: dict[str, str]) -> None:
    """Join a payment's room, and say where it stands."""
    name = wanted["payment_id"]
    await _server.enter_room(session_id, name)
    await _server.emit("status", _message(name), to=session_id)


def _message(name: str) -> dict[str, Any]:
    return {"payment_id": name, "revision": _revisions[name], "state": 2, "at": stamp(), "body": FILLER}


async def _publish(number: int) -> None:
    name = payment_id(number)
    _revisions[name] += 1
    await _server.emit("status", _message(name), room=name)


async def _serve(port: int, websockets: str) -> None:
    warnings.simplefilter("ignore", UvicornDeprecationWarning)  # we know, see above
    config = uvicorn.Config(
        socketio.ASGIApp(_server),
        host="127.0.0.1",
        port=port,
        log_level="critical",
        ws=websockets,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        ws_ping_timeout=None,
        loop="uvloop",
        backlog=4_096,
        lifespan="off",
        access_log=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 uvicorn has no event for it
        await asyncio.sleep(START_POLL_S)
    await controlled(_publish)
    serving.cancel()
    os._exit(0)  # or it would say about each socket that it is gone


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))

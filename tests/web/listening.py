"""A browser's side of server-sent events, as the standard has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.eventually import WITHIN_S


@dataclass(frozen=True, slots=True)
class Heard:
    """One event."""

    name: str
    data: Any
    last_id: str
    """What the browser would say it saw last, after this event."""


class Listener:
    """Reads a stream."""

    def __init__(self, answer: httpx.Response, *, within_s: float | None = WITHIN_S) -> None:
        """An event has so long to come."""
        self._within_s = within_s
        self._lines = answer.aiter_lines()
        self.last_id = ""
        self.retry_ms = 0

    async def next(self) -> Heard:
        """Return the next event; StopAsyncIteration at the end of the stream."""
        name, data = "", []
        async with asyncio.timeout(self._within_s):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                match field:
                    case "event":
                        name = value
                    case "data":
                        data.append(value)
                    case "id":
                        self.last_id = value
                    case "retry":
                        self.retry_ms = int(value)
                    case "" if data:
                        return Heard(name, json.loads("\n".join(data) or "null"), self.last_id)
        raise StopAsyncIteration

    async def rest(self) -> list[Heard]:
        """Return all events up to the end of the stream."""
        heard = []
        while True:
            try:
                heard.append(await self.next())
            except StopAsyncIteration:
                return heard


@asynccontextmanager
async def listening(
    browser: httpx.AsyncClient, address: str, *, last_id: str = "", params: Mapping[str, Any] | None = None
) -> AsyncIterator[Listener]:
    """Listen while inside."""
    headers = {"accept": "text/event-stream"} | ({"last-event-id": last_id} if last_id else {})
    async with browser.stream("GET", address, headers=headers, params=params, timeout=WITHIN_S) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Listener(answer)

"""Counts the requests of a front by what they are for and how they were answered. Plain ASGI, around all else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.observability.metrics import Meter
from services.web.assets import PREFIX
from services.web.failures import Failure
from services.web.metrics import LIMITED, REQUEST_SECONDS, REQUESTS

LIMIT: Final = "batzen.limit"
"""Where the scope of a request holds whose limit it went beyond."""
NOT_ANSWERED: Final = "none"
"""The browser went before it was answered, or the handler failed before it began to."""


class Measured:
    """The outermost of a front's application."""

    def __init__(self, inner: ASGIApp, *, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner = inner
        self._limited = meter.counter(LIMITED)
        self._requests = meter.counter(REQUESTS)
        self._seconds = meter.histogram(REQUEST_SECONDS)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        begun, status = self._clock(), NOT_ANSWERED
        purpose = purpose_of(scope["path"])

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = f"{message['status'] // 100}xx"
                if purpose != "stream":  # which lasts for as long as somebody watches
                    self._seconds.observe(self._clock() - begun, purpose)
            await send(message)

        try:
            await self._inner(scope, receive, sending)
        finally:
            self._requests.add(purpose, status)
            if LIMIT in scope:
                self._limited.add(scope[LIMIT])


def note(scope: Scope, failure: Failure) -> None:
    """Have a refusal counted if somebody went beyond a limit; each room that answers refusals says so."""
    if failure.limit:
        scope[LIMIT] = failure.limit


def purpose_of(path: str) -> str:
    """Return what a request is for, by its path."""
    if path.startswith(f"{PREFIX}/"):
        return "file"
    if path.endswith("/events"):
        return "stream"
    return "rest" if path.startswith(("/api/", "/v1/")) else "page"

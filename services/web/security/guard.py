"""Around every request of a front: its correlation id, whether it is meant for us and made by a page of ours, the size
and time of its body, and what every answer carries.

Plain ASGI: Starlette's own base class for this doubles the memory of each stream and triples its CPU.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.web.failures import Refusal
from services.web.security.csrf import is_ours
from services.web.security.headers import Origins, PageKind, headers_of

CORRELATION_HEADER: Final = "x-correlation-id"
CORRELATION: Final = "batzen.correlation_id"
"""Where the scope of a request holds it."""
PAGE_KIND: Final = "batzen.page_kind"
"""Where a handler says what kind of page it answers with; data if it says nothing."""
BODY_BYTES_MAX: Final = 64 * 1024
BODY_S: Final = 15.0
"""For a whole body, from when it is asked for: 64 KB take 11 s by the slowest mobile network there is."""
BODILESS: Final = frozenset({"GET", "HEAD"})
"""They have no body: one that is announced and does not come would hold up whoever waits for the browser to leave."""
ALIVE: Final = "/livez"
"""Asked by whoever runs the process, under whatever name."""
_CORRELATION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

Answer = Callable[[Request, Exception], Awaitable[Response]]
"""Makes an answer of a refusal."""


class BodyTooLarge(Refusal):
    """The body of a request has more bytes than are taken."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(413, "BODY_TOO_LARGE", explanation=f"A body has at most {bytes_max} bytes.")


class BodyTooSlow(Refusal):
    """The body of a request did not come in time."""

    def __init__(self) -> None:
        explanation = f"A body has {BODY_S:g} s to come."
        super().__init__(408, "BODY_TOO_SLOW", explanation=explanation, retry_after=timedelta(seconds=1))


class Guard:
    """The outermost of a front's application."""

    def __init__(
        self,
        inner: ASGIApp,
        *,
        own_origin: str,
        cookie_name: str,
        origins: Origins,
        answer: Answer,
        exempt: frozenset[str] = frozenset(),
        body_limits: Mapping[str, int] = MappingProxyType({}),
        any_name: frozenset[str] = frozenset(),
    ) -> None:
        """`exempt` are the paths that other sites may post to, since nothing there acts with a session; one that ends
        with a slash is all below it. `body_limits` are the bytes of the paths that take other bodies than all, and
        `any_name` the paths that may be asked by any host name, since no session counts there.
        """
        self._inner = inner
        self._own_origin = own_origin
        self._host = urlsplit(own_origin).netloc.lower()
        self._cookie = f"{cookie_name}="
        self._answer = answer
        self._exempt = exempt
        self._exempt_below = tuple(path for path in exempt if path.endswith("/"))
        self._body_limits = body_limits
        self._any_name = any_name | {ALIVE}
        is_secure = own_origin.startswith("https://")
        self._headers: Mapping[PageKind, Mapping[str, str]] = {
            kind: headers_of(kind, origins, is_secure=is_secure) for kind in PageKind
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # nothing of ours speaks anything else
        headers = Headers(scope=scope)
        scope[CORRELATION] = uuid.uuid4().hex
        answering = _Answering(scope, send, self._headers)
        try:
            self._look(scope, headers)
            body = _Body(receive, bytes_max=self._body_bytes_max(scope))
            body.expect(headers.get("content-length", "0"), is_chunked="transfer-encoding" in headers)
            await self._inner(scope, body.receive, answering.send)
        except Refusal as refusal:
            if answering.has_begun:
                raise
            await (await self._answer(Request(scope), refusal))(scope, receive, answering.send)

    def _body_bytes_max(self, scope: Scope) -> int:
        if scope["method"] in BODILESS:
            return 0
        return self._body_limits.get(scope["path"], BODY_BYTES_MAX)

    def _look(self, scope: Scope, headers: Headers) -> None:
        """Refuse what is not meant for this front, or was not made by a page of it."""
        if scope["path"] not in self._any_name and [host.lower() for host in headers.getlist("host")] != [self._host]:
            # A page that another name leads to would be another origin with the same sessions.
            raise Refusal(421, "HOST_UNKNOWN")
        if not self._is_exempt(scope["path"]) and not is_ours(
            method=scope["method"],
            fetch_site=headers.get("sec-fetch-site"),
            origin=headers.get("origin"),
            own_origin=self._own_origin,
            has_cookie=any(self._cookie in value for value in headers.getlist("cookie")),
        ):
            raise Refusal(403, "FORBIDDEN_ORIGIN")

    def _is_exempt(self, path: str) -> bool:
        return path in self._exempt or path.startswith(self._exempt_below)


def take_given_id(scope: Scope) -> None:
    """Use the correlation id that a request brings, if it is one: of a caller who may name what our audits hold."""
    given = Headers(scope=scope).get(CORRELATION_HEADER, "")
    if _CORRELATION.fullmatch(given):
        scope[CORRELATION] = given


class _Answering:
    """Sends an answer with the headers that it has to carry."""

    __slots__ = ("_headers", "_scope", "_send", "has_begun")

    def __init__(self, scope: Scope, send: Send, headers: Mapping[PageKind, Mapping[str, str]]) -> None:
        self._scope = scope
        self._send = send
        self._headers = headers
        self.has_begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            answered = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in self._headers[self._scope.get(PAGE_KIND, PageKind.DATA)].items():
                answered.setdefault(name, value)
            answered.setdefault(CORRELATION_HEADER, self._scope[CORRELATION])
        await self._send(message)


class _Body:
    """Receives a body within its limits."""

    __slots__ = ("_bytes_max", "_deadline", "_is_complete", "_read", "_receive")

    def __init__(self, receive: Receive, *, bytes_max: int) -> None:
        self._receive = receive
        self._bytes_max = bytes_max
        self._read = 0
        self._is_complete = False
        self._deadline: float | None = None

    def expect(self, declared: str, *, is_chunked: bool) -> None:
        """Refuse a body that says itself that it is too large."""
        if (declared.isdigit() and int(declared) > self._bytes_max) or (is_chunked and not self._bytes_max):
            raise BodyTooLarge(self._bytes_max)

    async def receive(self) -> Message:
        if self._is_complete:  # whoever asks now waits for the browser to leave
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + BODY_S
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow from None
        self._read += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        if self._read > self._bytes_max:
            raise BodyTooLarge(self._bytes_max)
        return message

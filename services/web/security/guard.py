"""Around every request of a front: its correlation id, whether a page of ours made it, its size, and what every answer
carries. Plain ASGI: Starlette's own base class for this doubles the memory of each stream and triples its CPU.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.web.security.csrf import is_ours
from services.web.security.headers import Origins, PageKind, headers_of

CORRELATION_HEADER: Final = "x-correlation-id"
CORRELATION: Final = "batzen.correlation_id"
"""Where the scope of a request holds it."""
PAGE_KIND: Final = "batzen.page_kind"
"""Where a handler says what kind of page it answers with; data if it says nothing."""
BODY_BYTES_MAX: Final = 64 * 1024
_CORRELATION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_logger = logging.getLogger(__name__)


class BodyTooLarge(Exception):
    """The body of a request has more bytes than are taken."""


class Guard:
    """The outermost of a front's application."""

    def __init__(
        self,
        inner: ASGIApp,
        *,
        own_origin: str,
        cookie_name: str,
        origins: Origins,
        exempt: frozenset[str] = frozenset(),
    ) -> None:
        """`exempt` are the paths that other sites may post to, since nothing there acts with a session."""
        self._inner = inner
        self._own_origin = own_origin
        self._cookie = f"{cookie_name}="
        self._exempt = exempt
        is_secure = own_origin.startswith("https://")
        self._headers: Mapping[PageKind, Mapping[str, str]] = {
            kind: headers_of(kind, origins, is_secure=is_secure) for kind in PageKind
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(CORRELATION_HEADER, "")
        correlation_id = given if _CORRELATION.fullmatch(given) else uuid.uuid4().hex
        scope[CORRELATION] = correlation_id

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in self._headers[scope.get(PAGE_KIND, PageKind.DATA)].items():
                    answered.setdefault(name, value)
                answered.setdefault(CORRELATION_HEADER, correlation_id)
            await send(message)

        if not self._is_ours(scope, headers):
            await _refused(403, "FORBIDDEN_ORIGIN", "The request was not made by a page of ours.", correlation_id)(
                scope, receive, sending
            )
            return
        try:
            await self._inner(scope, _limited(headers, receive), sending)
        except BodyTooLarge:
            await _refused(413, "BODY_TOO_LARGE", f"A body has at most {BODY_BYTES_MAX} bytes.", correlation_id)(
                scope, receive, sending
            )

    def _is_ours(self, scope: Scope, headers: Headers) -> bool:
        return any(scope["path"].startswith(path) for path in self._exempt) or is_ours(
            method=scope["method"],
            fetch_site=headers.get("sec-fetch-site"),
            origin=headers.get("origin"),
            own_origin=self._own_origin,
            has_cookie=self._cookie in headers.get("cookie", ""),
        )


def _limited(headers: Headers, receive: Receive) -> Receive:
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > BODY_BYTES_MAX:

        async def too_large() -> Message:
            raise BodyTooLarge

        return too_large
    read = 0

    async def receiving() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > BODY_BYTES_MAX:
            raise BodyTooLarge
        return message

    return receiving


def _refused(status: int, code: str, message: str, correlation_id: str) -> JSONResponse:
    return JSONResponse(
        {"success": False, "code": code, "message": message, "correlationId": correlation_id}, status_code=status
    )

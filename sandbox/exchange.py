"""A request and its answer on the wire: read, sent, cut off, reset."""

import asyncio
import secrets
import socket
import struct
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from sandbox.errors import ApiError
from sandbox.faults import Fault

_BODY_MAX_BYTES = 1_000_000  # no request of the official client comes near


@dataclass(slots=True, kw_only=True)
class Call:
    """One request to the API."""

    method: str
    path: str
    encoded: bytes  # the body of a POST, the query of a GET
    headers: dict[str, str]
    request_id: str
    template: str = "unknown"

    @property
    def idempotency_key(self) -> str | None:
        return self.headers.get("idempotency-key") if self.method == "POST" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str]
    fault: Fault | None = None  # what is to happen instead of sending it


def text_of(encoded: bytes) -> str:
    """Return what a request says; raises 413 if it is too large."""
    if len(encoded) > _BODY_MAX_BYTES:
        raise ApiError("The request is too large.", status=413)
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        raise ApiError("Invalid request: it is not UTF-8.") from None


async def read(scope: Scope, receive: Receive) -> Call:
    """Read a request, as far as it is looked at."""
    body = b""
    while len(body) <= _BODY_MAX_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    method = scope["method"]
    return Call(
        method=method,
        path=scope["path"],
        encoded=body if method == "POST" else scope["query_string"],
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        request_id=f"req_{secrets.token_hex(7)}",
    )


async def send_answer(send: Send, answer: Answer, *, request_id: str) -> None:
    """Send an answer."""
    await _send_head(send, answer, request_id=request_id, length=len(answer.body))
    await send({"type": "http.response.body", "body": answer.body})


async def cut_off(send: Send, receive: Receive, answer: Answer, *, request_id: str) -> None:
    """Announce a longer body than comes before the connection is closed."""
    await _send_head(send, answer, request_id=request_id, length=len(answer.body) + 1)
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    _transport(send).close()
    await disconnected(receive)


async def _send_head(send: Send, answer: Answer, *, request_id: str, length: int) -> None:
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(length),
        "Request-Id": request_id,
        "Access-Control-Allow-Origin": "*",  # browsers confirm with a publishable key, from any page
        **answer.headers,
    }
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})


async def disconnected(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reset(send: Send, receive: Receive) -> None:
    """Reset the connection and see it gone."""
    transport = _transport(send)
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with RST, not FIN
    transport.abort()
    await disconnected(receive)  # an application that returns before is taken to have forgotten its answer


def _transport(send: Send) -> asyncio.Transport:
    # ASGI has no word for it; uvicorn's `send` is a method of the cycle that owns the transport.
    transport: asyncio.Transport = getattr(send, "__self__").transport  # noqa: B009 - a plain attribute fails typing
    return transport

"""Polling that costs little: an answer has a tag of the payment's revision, and who has it already gets 304."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.responses import JSONResponse

from batzen.status.v1.status_pb2 import Payment
from services.bff.callers import Asker


def tag(payment: Payment, asker: Asker) -> str:
    """Return the tag of how a payment stands, as this asker is shown it."""
    viewer = "service" if asker.is_service else "payer"
    # What is no part of a revision, such as its bookings, changes the answer, too.
    rest = hashlib.sha256(f"{viewer}|{sorted(payment.booking_ids)}".encode()).hexdigest()[:8]
    return f'"{payment.payment_id}-{payment.revision}-{asker.language}-{rest}"'


def polled(request: Request, tagged: str, content: Callable[[], BaseModel | Mapping[str, object]]) -> Response:
    """Return the answer, or 304 where the asker has it; `content` is made only if it is sent."""
    headers = {"ETag": tagged, "Cache-Control": "private, no-cache", "Vary": "Cookie, Authorization, Accept-Language"}
    known = [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]
    if tagged in known:
        return Response(status_code=304, headers=headers)
    made = content()
    body = made.model_dump(mode="json") if isinstance(made, BaseModel) else made
    return JSONResponse(body, headers=headers)

"""How bodies are read: JSON alone, numbers exactly, nothing nested deeper than anything of ours is."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, Final

from fastapi import HTTPException
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

DEPTH_MAX: Final = 16
"""Of lists and objects in each other; ours have 5."""
NUMBER_CHARACTERS_MAX: Final = 40
"""Of a number as it is written: longer ones take long to read, and are no amount."""
EXPONENT_MAX: Final = 40
"""Of a number's first digit, as a power of ten, either way: as an integer, `1e30000000` has 30 million digits, and to
make it takes all the time and memory there is."""


class ExactJson(Request):
    """A request whose JSON holds `Decimal`, never a float."""

    async def json(self) -> Any:
        """Return the body as what it says."""
        return read_json(await self.body())


class ExactRoute(APIRoute):
    """A route that takes JSON alone, and reads numbers exactly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, given such requests."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if request.method == "POST" and not _is_json(request.headers.get("content-type", "")):
                raise HTTPException(415)
            asked = ExactJson(request.scope, request.receive)
            await asked.body()  # here, where FastAPI does not call a body unreadable that is too large or too slow
            return await inner(asked)

        return handle


def said(amount: object) -> object:
    """Return an amount that is said. Left out it means all of it; a client that says null may have lost the number.

    Raises ValueError for null, and for true and false, which are read as 1 and 0 otherwise.
    """
    if amount is None or isinstance(amount, bool):
        raise ValueError("it is no amount; leave it out for all of it")
    return amount


def read_json(body: bytes) -> object:
    """Read JSON. Raises `json.JSONDecodeError` for what is none, too deep, or not finite."""
    text = body.decode("utf-8", errors="surrogateescape")
    if _depth(text) > DEPTH_MAX:
        raise json.JSONDecodeError("nested too deeply", text[:1], 0)
    try:
        return json.loads(body.decode("utf-8"), parse_float=_decimal, parse_int=_int, parse_constant=_refused)
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, json.JSONDecodeError):
            raise
        raise json.JSONDecodeError(str(error), "", 0) from error


def _depth(text: str) -> int:
    """Return at most how deep anything is nested. Brackets within texts count, too: no text of ours has so many."""
    depth = deepest = 0
    for one in text:
        if one in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif one in "]}":
            depth -= 1
    return deepest


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _decimal(text: str) -> Decimal:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise ValueError("a number that is too long")
    value = Decimal(text)
    if not value.is_finite() or abs(value.adjusted()) > EXPONENT_MAX:
        raise ValueError("a number that is too large or too small")
    return value


def _int(text: str) -> int:
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise ValueError("a number that is too long")
    return int(text)


def _refused(text: str) -> object:
    raise ValueError(f"{text} is no number")

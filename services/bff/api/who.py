"""What handlers are given: who asks, and their key."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from fastapi import Depends, Header, Request

from services.bff.api.request_ids import HEADER
from services.bff.callers import Asker, Callers
from services.runtime.rpc.identity import Caller
from services.web.failures import Refusal

CALLERS: Final = "callers"
"""Under which name the application's state holds who tells who asks."""


async def _callers(request: Request) -> Callers:
    callers: Callers = getattr(request.app.state, CALLERS)
    return callers


async def _asker(request: Request) -> Asker:
    callers = await _callers(request)
    return await callers.of(request)


async def _service(request: Request) -> Asker:
    asker = await _asker(request)
    if not asker.is_service:
        raise Refusal(403, "PERMISSION_DENIED")
    return asker


async def _staff(request: Request) -> Caller:
    callers: Callers = getattr(request.app.state, CALLERS)
    return await callers.staff(request)


Who: TypeAlias = Annotated[Asker, Depends(_asker)]
"""Whoever asks: a payer or a service."""
Service: TypeAlias = Annotated[Asker, Depends(_service)]
"""A service; the services would refuse anybody else, too."""
Rates: TypeAlias = Annotated[Callers, Depends(_callers)]
"""Who counts what is done to a payment that the path does not name."""
Staff: TypeAlias = Annotated[Caller, Depends(_staff)]
"""A service or an operator, by a token of their own or by the console's word for them."""
_KEY: Final = "1 to 255 visible characters; the same key makes a repeat the same request."
Key: TypeAlias = Annotated[str | None, Header(alias=HEADER, description=_KEY)]
NeededKey: TypeAlias = Annotated[str, Header(alias=HEADER, description=_KEY)]

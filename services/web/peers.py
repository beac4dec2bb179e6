"""How a front calls the services: for a person with their word, and for all its streams with its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from batzen.client import Client
from services.runtime.rpc.channels import TokenDirectory
from services.web.settings import FrontSettings

TIMEOUT_S = 20.0
"""Of a call that names none: a browser waits no longer for a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """The services, twice."""

    calls: Client
    """Has no token: each call is given the `metadata` of a person or of a service that called us, and one that is not
    is refused."""
    watching: Client
    """Has this front's own token, and is used for watches alone, each with the assertion of a person."""


@asynccontextmanager
async def connected(settings: FrontSettings, *, tenant_id: str = "main") -> AsyncIterator[Peers]:
    """Yield the services while inside."""
    tokens = TokenDirectory(settings.token_directory)
    tls = settings.process.tls
    credentials = None if tls is None else tls.load().for_channel()
    async with (
        Client(token="", addresses=settings.addresses, timeout_s=TIMEOUT_S, credentials=credentials) as calls,
        Client(
            token=lambda: tokens.token(tenant_id), addresses=settings.addresses, credentials=credentials
        ) as watching,
    ):
        yield Peers(calls=calls, watching=watching)

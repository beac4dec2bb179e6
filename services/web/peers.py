"""How a front calls the services: for a person with their word, and for all its streams with its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from batzen.client import Client, OpenChannel
from services.runtime.rpc.channels import TokenDirectory
from services.runtime.rpc.tls import TlsFiles
from services.runtime.rpc.tls_channel import TlsChannel
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


def following(tls: TlsFiles | None) -> OpenChannel | None:
    """Return how channels are opened whose certificate is replaced while they are used; None for plaintext."""
    return None if tls is None else lambda make: TlsChannel(tls, make)


@asynccontextmanager
async def connected(settings: FrontSettings, *, tenant_id: str = "main") -> AsyncIterator[Peers]:
    """Yield the services while inside."""
    tokens = TokenDirectory(settings.token_directory)
    open_channel = following(settings.process.tls)
    async with (
        Client(token="", addresses=settings.addresses, timeout_s=TIMEOUT_S, open_channel=open_channel) as calls,
        Client(
            token=lambda: tokens.token(tenant_id), addresses=settings.addresses, open_channel=open_channel
        ) as watching,
    ):
        yield Peers(calls=calls, watching=watching)

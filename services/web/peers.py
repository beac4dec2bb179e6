"""How a front calls the services: for a person with their word, and for all its streams with its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
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
    watching: Watching
    """Have this front's own tokens, and are used for watches alone, each with the assertion of a person."""


class Watching:
    """The clients that watch, one for each tenant: a stream of status is one tenant's, whoever speaks on it.

    So a process has one stream for all browsers of a tenant, and as many streams as tenants whose payers look on.
    """

    def __init__(self, tokens: TokenDirectory, open_client: Callable[[Callable[[], str]], Client]) -> None:
        """`open_client` returns a client of a token of this front's own."""
        self._tokens = tokens
        self._open = open_client
        self._clients: dict[str, Client] = {}

    def of(self, tenant_id: str) -> Client:
        """Return the client for a tenant's people. Raises DependencyUnavailable while there is no token for it."""
        client = self._clients.get(tenant_id)
        if client is None:
            self._tokens.token(tenant_id)  # or each watch would fail on its own, and as a fault
            client = self._clients[tenant_id] = self._open(lambda: self._tokens.token(tenant_id))
        return client

    async def close(self) -> None:
        """Close the clients; watches that still run end as `Cancelled`."""
        async with AsyncExitStack() as stack:
            for client in self._clients.values():
                stack.push_async_callback(client.close)


def following(tls: TlsFiles | None) -> OpenChannel | None:
    """Return how channels are opened whose certificate is replaced while they are used; None for plaintext."""
    return None if tls is None else lambda make: TlsChannel(tls, make)


@asynccontextmanager
async def connected(settings: FrontSettings) -> AsyncIterator[Peers]:
    """Yield the services while inside."""
    tokens = TokenDirectory(settings.token_directory)
    open_channel = following(settings.process.tls)

    def watching_client(token: Callable[[], str]) -> Client:
        return Client(token=token, addresses=settings.addresses, open_channel=open_channel)

    watching = Watching(tokens, watching_client)
    async with Client(token="", addresses=settings.addresses, timeout_s=TIMEOUT_S, open_channel=open_channel) as calls:
        try:
            yield Peers(calls=calls, watching=watching)
        finally:
            await watching.close()

"""How our services call each other: one channel per peer, made once, with our token, the correlation id and a deadline
no longer than what the caller of ours has left.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from grpc import aio

from batzen._channel import make_channel, streaming
from services.errors import DependencyUnavailable
from services.runtime.observability.spans import peer_call
from services.runtime.process.followed import FollowedFile
from services.runtime.rpc import call_context
from services.runtime.rpc.call_log import AUTHORIZATION, BEARER
from services.runtime.rpc.identity import TOKEN_BYTES_MAX, is_tenant_id
from services.runtime.rpc.tls import TlsFiles
from services.runtime.rpc.tls_channel import TlsChannel

__all__ = ["PEER_TIMEOUT_S", "TOKENS_DOC", "TokenDirectory", "peer_channel", "streaming"]

PEER_TIMEOUT_S: Final = 10.0
"""Of a call to a peer that has no deadline of its own, as in a job."""

TOKENS_DOC: Final = "Where this service's own tokens are, `<tenant>.jwt` each; the files are followed."
"""What BATZEN_TOKEN_DIRECTORY means."""


class TokenDirectory:
    """This service's own tokens, one file `<tenant>.jwt` per tenant, read again when replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, FollowedFile[str]] = {}

    def token(self, tenant_id: str) -> str:
        """Return the token for a tenant, the last that could be read. Raises DependencyUnavailable if none ever was."""
        known = self._known.get(tenant_id)
        if known is not None:
            return known.current()
        if not is_tenant_id(tenant_id):
            raise ValueError(f"{tenant_id!r} cannot be a tenant")
        try:
            known = FollowedFile(self._path / f"{tenant_id}.jwt", _token, name="BATZEN_TOKEN_DIRECTORY")
        except ValueError as error:
            raise DependencyUnavailable(dependency="token") from error
        self._known[tenant_id] = known
        return known.current()


def _token(text: str) -> str:
    if len(text) > TOKEN_BYTES_MAX or not text.isascii():
        raise ValueError("has no token in it")
    return text


def peer_channel(
    address: str, *, tokens: TokenDirectory, timeout_s: float = PEER_TIMEOUT_S, tls: TlsFiles | None = None
) -> aio.Channel:
    """Return the channel to a peer, for `async with`; calls act for `calls.current_tenant()`."""

    def metadata() -> tuple[tuple[str, str], ...]:
        authorization = (AUTHORIZATION, BEARER + tokens.token(call_context.current_tenant()))
        correlation = call_context.sent_correlation()
        return (authorization,) if correlation is None else (authorization, (call_context.CORRELATION_KEY, correlation))

    make = partial(
        make_channel,
        address,
        timeout_s=timeout_s,
        metadata=metadata,
        remaining_s=call_context.time_remaining,
        observe=peer_call,
    )
    return make() if tls is None else TlsChannel(tls, make)

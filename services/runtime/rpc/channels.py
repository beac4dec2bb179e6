"""How our services call each other: one channel per peer, made once, with our token, the correlation id and a deadline
no longer than what the caller of ours has left.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from grpc import aio

from batzen._channel import make_channel, streaming
from services.errors import DependencyUnavailable
from services.runtime.observability.spans import peer_call
from services.runtime.rpc import call_context
from services.runtime.rpc.call_log import AUTHORIZATION, BEARER
from services.runtime.rpc.identity import TOKEN_BYTES_MAX, is_tenant_id
from services.runtime.rpc.tls import TlsFiles

__all__ = ["PEER_TIMEOUT_S", "TOKENS_DOC", "TokenDirectory", "peer_channel", "streaming"]

PEER_TIMEOUT_S: Final = 10.0
"""Of a call to a peer that has no deadline of its own, as in a job."""

TOKENS_DOC: Final = "Where this service's own tokens are, `<tenant>.jwt` each; the files are followed."
"""What BATZEN_TOKEN_DIRECTORY means."""


class TokenDirectory:
    """This service's own tokens, one file `<tenant>.jwt` per tenant, read again when replaced."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._known: dict[str, tuple[tuple[int, int], str]] = {}

    def token(self, tenant_id: str) -> str:
        """Return the token for a tenant; raise DependencyUnavailable if there is none that can be read."""
        if not is_tenant_id(tenant_id):
            raise ValueError(f"{tenant_id!r} cannot be a tenant")
        path = f"{self._path}/{tenant_id}.jwt"
        try:
            stat = os.stat(path)  # at each call, and a third of what a Path takes for it
            stamp = (stat.st_mtime_ns, stat.st_ino)
            known = self._known.get(tenant_id)
            if known is None or known[0] != stamp:
                known = (stamp, Path(path).read_text(encoding="ascii").strip())
                self._known[tenant_id] = known
        except (OSError, UnicodeDecodeError) as error:
            raise DependencyUnavailable(dependency="token") from error
        if not 0 < len(known[1]) <= TOKEN_BYTES_MAX:
            raise DependencyUnavailable(dependency="token")
        return known[1]


def peer_channel(
    address: str, *, tokens: TokenDirectory, timeout_s: float = PEER_TIMEOUT_S, tls: TlsFiles | None = None
) -> aio.Channel:
    """Return the channel to a peer, for `async with`; calls act for `calls.current_tenant()`."""

    def metadata() -> tuple[tuple[str, str], ...]:
        authorization = (AUTHORIZATION, BEARER + tokens.token(call_context.current_tenant()))
        correlation = call_context.correlation_id()
        return (authorization,) if correlation is None else (authorization, (call_context.CORRELATION_KEY, correlation))

    return make_channel(
        address,
        timeout_s=timeout_s,
        metadata=metadata,
        remaining_s=call_context.time_remaining,
        credentials=None if tls is None else tls.channel_credentials(),
        observe=peer_call,
    )

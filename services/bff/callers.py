"""Who asks: the payer of a session's cookie, or whoever a bearer token names, as whom every call is made.

A token of a service, or of a payer, is checked here so that what is no good is refused early, and is handed on:
the services check it once more, and decide. The front adds nothing to what it may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from services.errors import ServiceError, Unauthenticated
from services.runtime.rpc.identity import PAYER, SERVICE, Caller
from services.runtime.rpc.issuers import Verifier
from services.web.failures import Refusal
from services.web.front import Front
from services.web.security.guard import CORRELATION
from services.web.texts import language_of

CLIENT_IP: Final = "x-client-ip"
"""Metadata of a call in a payer's name: where their browser is, for the orchestrator's count of declines."""
_BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, and with which words the services are called for them."""

    tenant_id: str
    subject: str
    is_service: bool
    """A program of the platform: it may name prices. Nobody else may."""
    metadata: Sequence[tuple[str, str]]
    language: str
    correlation_id: str
    client_ip: str

    @property
    def owner(self) -> str:
        """Whose request ids these are: the same key of another caller is another request."""
        return f"{self.tenant_id}|{'service' if self.is_service else 'person'}|{self.subject}"


class Callers:
    """Tells who asks."""

    def __init__(self, front: Front, verifier: Verifier) -> None:
        self._front = front
        self._verifier = verifier

    async def of(self, request: Request) -> Asker:
        """Return who asks. Raises `Refusal` where nobody is named, or by a token that is no good."""
        given = request.headers.get("authorization", "")
        if given:
            return await self._bearer(request, given)
        session = await self._front.session(request.scope)
        if session is None:
            raise Refusal(401, "LOGIN_REQUIRED")
        ip = client_ip(request)
        return Asker(
            tenant_id=session.tenant_id,
            subject=session.subject,
            is_service=False,
            metadata=self._front.word(session, request.scope),
            language=language_of(session.locale or request.headers.get("accept-language")),
            correlation_id=request.scope[CORRELATION],
            client_ip=ip,
        )

    async def _bearer(self, request: Request, given: str) -> Asker:
        if not given.lower().startswith(_BEARER):
            raise Refusal(401, "UNAUTHENTICATED")
        token = given[len(_BEARER) :].strip()
        caller = await self._verified(token)
        if not caller.roles & {SERVICE, PAYER}:
            # Operators act at the console, where who they are is proved anew before money moves.
            raise Refusal(403, "PERMISSION_DENIED")
        correlation_id = request.scope[CORRELATION]
        return Asker(
            tenant_id=caller.tenant_id,
            subject=caller.subject,
            is_service=SERVICE in caller.roles,
            metadata=(("authorization", f"Bearer {token}"), ("x-correlation-id", correlation_id)),
            language=language_of(request.headers.get("accept-language")),
            correlation_id=correlation_id,
            client_ip=client_ip(request),
        )

    async def _verified(self, token: str) -> Caller:
        try:
            return await self._verifier.verify(token)
        except Unauthenticated as error:
            raise Refusal(401, "UNAUTHENTICATED", explanation=str(error)) from error
        except ServiceError as error:
            raise Refusal(503, error.reason, retry_after=error.retry_after) from error


def client_ip(request: Request) -> str:
    """Return where the request comes from, as the trusted proxies say."""
    return "" if request.client is None else request.client.host

"""Who asks: the payer of a session's cookie, or whoever a bearer token names, as whom every call is made.

A token of a service, or of a payer, is checked here so that what is no good is refused early, and is handed on:
the services check it once more, and decide. The front adds nothing to what it may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from services.errors import Unauthenticated
from services.runtime.rpc.identity import PAYER, SERVICE, Caller
from services.runtime.rpc.issuers import Verifier
from services.web.failures import Refusal
from services.web.front import Front
from services.web.rates import CLIENT_ADDRESS, PAYMENT, AddressRates, SharedRates, address_of
from services.web.rates import PAYER as PAYERS
from services.web.security.csrf import SAFE_METHODS
from services.web.security.guard import CORRELATION, take_given_id
from services.web.sessions.needed import OPERATORS
from services.web.texts import language_of

_BEARER: Final = "bearer "
STAFF: Final = OPERATORS | {SERVICE}
"""Who may read what all payers of their tenant answered."""


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

    @property
    def owner(self) -> str:
        """Whose request ids these are: the same key of another caller is another request."""
        return f"{self.tenant_id}|{'service' if self.is_service else 'person'}|{self.subject}"


class Callers:
    """Tells who asks, and counts how often."""

    def __init__(self, front: Front, verifier: Verifier, addresses: AddressRates) -> None:
        self._front = front
        self._verifier = verifier
        self._addresses = addresses
        self._rates = SharedRates(front.held, now=front.now)

    async def of(self, request: Request) -> Asker:
        """Return who asks. Raises `Refusal` where nobody is named, by a token that is no good, or too often."""
        asker = await self._named(request)
        if not asker.is_service and request.method not in SAFE_METHODS:
            await self._rates.take(PAYERS, asker.tenant_id, asker.subject)
            payment_id = request.path_params.get("payment_id")
            if payment_id is not None:
                await self.take_payment(asker, payment_id)
        return asker

    async def take_payment(self, asker: Asker, payment_id: str) -> None:
        """Count what a payer changes of a payment that the path does not name. Raises `Refusal` for too often."""
        if not asker.is_service:
            await self._rates.take(PAYMENT, asker.tenant_id, asker.subject, payment_id)

    async def staff(self, request: Request) -> Caller:
        """Return the service or operator that a bearer token names; no session counts here. Raises `Refusal`."""
        caller = await self._verified(request, request.headers.get("authorization", ""))
        if not caller.roles & STAFF:
            raise Refusal(403, "PERMISSION_DENIED")
        return caller

    async def _named(self, request: Request) -> Asker:
        given = request.headers.get("authorization", "")
        if given:
            return await self._bearer(request, given)
        session = await self._front.session(request.scope)
        if session is None:
            raise Refusal(401, "LOGIN_REQUIRED")
        return Asker(
            tenant_id=session.tenant_id,
            subject=session.subject,
            is_service=False,
            metadata=self._front.word(session, request.scope),
            language=language_of(session.locale or request.headers.get("accept-language")),
            correlation_id=request.scope[CORRELATION],
        )

    async def _bearer(self, request: Request, given: str) -> Asker:
        caller = await self._verified(request, given)
        if SERVICE in caller.roles:
            take_given_id(request.scope)
        if not caller.roles & {SERVICE, PAYER}:
            # Operators act at the console, where who they are is proved anew before money moves.
            raise Refusal(403, "PERMISSION_DENIED")
        return Asker(
            tenant_id=caller.tenant_id,
            subject=caller.subject,
            is_service=SERVICE in caller.roles,
            metadata=self._word(request, caller, given),
            language=language_of(request.headers.get("accept-language")),
            correlation_id=request.scope[CORRELATION],
        )

    @staticmethod
    def _word(request: Request, caller: Caller, given: str) -> Sequence[tuple[str, str]]:
        """Return the metadata of a call by this token: with where a payer is, by which declines are counted.

        A service asks from where it runs, which says nothing of its payers.
        """
        word = (("authorization", given), ("x-correlation-id", request.scope[CORRELATION]))
        address = "" if SERVICE in caller.roles else address_of(request.scope)
        return (*word, (CLIENT_ADDRESS, address)) if address else word

    async def _verified(self, request: Request, given: str) -> Caller:
        """Return whom a token names. The request of a service is given back: the services limit those."""
        caller = await self._read(given)
        if SERVICE in caller.roles:
            self._addresses.give_back(address_of(request.scope))
        return caller

    async def _read(self, given: str) -> Caller:
        if not given.lower().startswith(_BEARER):
            raise Refusal(401, "UNAUTHENTICATED")
        try:
            return await self._verifier.verify(given[len(_BEARER) :].strip())
        except Unauthenticated as error:
            raise Refusal(401, "UNAUTHENTICATED", explanation=str(error)) from error

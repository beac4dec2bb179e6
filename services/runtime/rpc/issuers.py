"""Which issuers' tokens count, and for whom each may speak: a table.

The issuer of the settings speaks for every role and tenant. A further one speaks for the roles and tenants of its row
alone, by short tokens: a front that serves payers can never make an operator, whatever becomes of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import jwt

from services.errors import Unauthenticated
from services.runtime.process.settings import Form
from services.runtime.rpc.identity import ROLES, Caller, TokenVerifier
from services.runtime.rpc.jwks import KeySet

LIFE_MAX: Final = timedelta(minutes=5)
"""Of a further issuer's token, from its `iat` on."""
ISSUERS_MAX: Final = 16


class Verifier(Protocol):
    """Knows who a token speaks for."""

    async def verify(self, token: str) -> Caller:
        """Return who the token speaks for; raise Unauthenticated if it is not good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherIssuer:
    """One row of the table."""

    issuer: str
    jwks: str
    roles: frozenset[str]
    tenants: frozenset[str]
    """Empty: all."""


def _rows(text: str) -> tuple[FurtherIssuer, ...]:
    try:
        rows = json.loads(text)
        issuers = tuple(
            FurtherIssuer(
                issuer=str(row["issuer"]),
                jwks=str(row["jwks"]),
                roles=frozenset(row["roles"]),
                tenants=frozenset(row.get("tenants", ())),
            )
            for row in rows
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError('is no table such as [{"issuer": "bff", "jwks": "…", "roles": ["payer"]}]') from error
    if len(issuers) > ISSUERS_MAX or len({one.issuer for one in issuers}) < len(issuers):
        raise ValueError(f"names an issuer twice, or more than {ISSUERS_MAX}")
    if any(not one.roles or one.roles - ROLES for one in issuers):
        raise ValueError(f"has a row whose roles are none of {', '.join(sorted(ROLES))}")
    return issuers


further_issuers: Form[tuple[FurtherIssuer, ...]] = Form(_rows, "JSON: a list of issuer, jwks, roles, tenants")


class TrustedIssuers:
    """Checks a token by the row of its issuer."""

    def __init__(self, first: TokenVerifier, further: Mapping[str, tuple[FurtherIssuer, TokenVerifier]]) -> None:
        self._first = first
        self._further = dict(further)

    async def verify(self, token: str) -> Caller:
        """Return who the token speaks for; raise Unauthenticated if it is no good, or says more than it may."""
        claims = _unverified(token)
        row = self._further.get(str(claims.get("iss")))
        if row is None:
            return await self._first.verify(token)
        issuer, verifier = row
        caller = await verifier.verify(token)
        if not caller.roles or caller.roles - issuer.roles:
            raise Unauthenticated(detail="The issuer may not speak for this role.")
        if issuer.tenants and caller.tenant_id not in issuer.tenants:
            raise Unauthenticated(detail="The issuer may not speak for this tenant.")
        if claims["exp"] - claims["iat"] > LIFE_MAX.total_seconds():
            raise Unauthenticated(detail="The token lives for too long.")
        return caller


def trusted_issuers(
    first: TokenVerifier, further: Sequence[FurtherIssuer], *, audience: str, now: Callable[[], datetime]
) -> Verifier:
    """Return what checks the tokens of all issuers."""
    if not further:
        return first
    return TrustedIssuers(
        first,
        {
            one.issuer: (one, TokenVerifier(KeySet(one.jwks), issuer=one.issuer, audience=audience, now=now))
            for one in further
        },
    )


def _unverified(token: str) -> dict[str, Any]:
    """Return what a token claims; nothing counts of it before its signature was checked."""
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise Unauthenticated from error
    return claims

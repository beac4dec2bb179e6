"""Which issuers' tokens count, and for whom each may speak: a table.

The issuer of the settings speaks for every role and tenant. A further one, a front, speaks for the people and tenants
of its row alone, by short tokens (assertions) that name it and say when their person proved who they are: a front that
serves payers can never make an operator or a service, whatever becomes of it.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

from services.errors import Unauthenticated
from services.runtime.process.settings import Form
from services.runtime.rpc.identity import (
    FRONT,
    LEEWAY,
    ROLES,
    SERVICE,
    TOKEN_BYTES_MAX,
    Caller,
    Claims,
    TokenVerifier,
    instant,
    is_tenant_id,
)
from services.runtime.rpc.jwks import KeySet

LIFE_MAX: Final = timedelta(minutes=5)
"""Of a further issuer's token, from its `iat` on."""
ISSUERS_MAX: Final = 16
PEOPLE: Final = ROLES - {SERVICE, FRONT}
"""Whom a front may speak for: no front is ever taken for a service."""


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
                roles=_names(row["roles"]),
                tenants=_names(row.get("tenants", [])),
            )
            for row in rows
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError('is no table such as [{"issuer": "bff", "jwks": "…", "roles": ["payer"]}]') from error
    if len(issuers) > ISSUERS_MAX or len({one.issuer for one in issuers}) < len(issuers):
        raise ValueError(f"names an issuer twice, or more than {ISSUERS_MAX}")
    if any(not one.roles or one.roles - PEOPLE for one in issuers):
        raise ValueError(f"has a row whose roles are none of {', '.join(sorted(PEOPLE))}")
    if any(not is_tenant_id(tenant) for one in issuers for tenant in one.tenants):
        raise ValueError("has a row with a tenant that can be none")
    return issuers


def _names(listed: object) -> frozenset[str]:
    """Return a list of texts as a set; a text alone is none, though its letters could be gone through."""
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise TypeError
    return frozenset(listed)


further_issuers: Form[tuple[FurtherIssuer, ...]] = Form(_rows, "JSON: a list of issuer, jwks, roles, tenants")


class TrustedIssuers:
    """Checks a token by the row of its issuer. What the token says of its issuer only chooses who checks it."""

    def __init__(self, first: TokenVerifier, further: Mapping[str, TokenVerifier]) -> None:
        self._first = first
        self._further = dict(further)

    async def verify(self, token: str) -> Caller:
        """Return who the token speaks for; raise Unauthenticated if it is no good, or says more than it may."""
        return await self._further.get(_issuer_of(token), self._first).verify(token)


def trusted_issuers(
    first: TokenVerifier, further: Sequence[FurtherIssuer], *, audience: str, now: Callable[[], datetime]
) -> Verifier:
    """Return what checks the tokens of all issuers."""
    if not further:
        return first
    return TrustedIssuers(
        first,
        {
            one.issuer: TokenVerifier(
                KeySet(one.jwks), issuer=one.issuer, audience=audience, now=now, accept=partial(_accepted, one, now)
            )
            for one in further
        },
    )


def _accepted(issuer: FurtherIssuer, now: Callable[[], datetime], caller: Caller, claims: Claims) -> Caller:
    """Return the caller with what the front says of them: all that a front has to say, and no more than it may."""
    roles = claims["roles"]
    if not roles or not issuer.roles.issuperset(roles):
        raise Unauthenticated(detail=f"The assertion is of {issuer.issuer}, which may not speak for this role.")
    if issuer.tenants and caller.tenant_id not in issuer.tenants:
        raise Unauthenticated(detail=f"The assertion is of {issuer.issuer}, which may not speak for this tenant.")
    if instant(claims["exp"]) - instant(claims["iat"]) > LIFE_MAX:
        raise Unauthenticated(detail="The assertion lives for too long.")
    act = claims.get("act")
    if not isinstance(act, dict) or act.get("sub") != issuer.issuer:
        raise Unauthenticated(detail="The assertion does not name the front that speaks.")
    if "auth_time" not in claims:
        raise Unauthenticated(detail="The assertion does not say when its person proved who they are.")
    auth_time = instant(claims["auth_time"])
    if auth_time > now() + LEEWAY:
        raise Unauthenticated(detail="The assertion says that its person will prove who they are.")
    return replace(caller, act=issuer.issuer, auth_time=auth_time)


def _issuer_of(token: str) -> str:
    """Return what a token claims to be issued by; empty for what is no token, or too long for one."""
    parts = token.split(".") if len(token) <= TOKEN_BYTES_MAX else []
    if len(parts) != 3:
        return ""
    try:
        issuer = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))["iss"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return issuer if isinstance(issuer, str) else ""

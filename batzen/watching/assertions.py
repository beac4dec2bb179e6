"""Whom a watch is for: the end user's signed token, who is named in it, and what to do when there is a newer one. Pure.

What a token claims is read here without checking its signature, to group watches of one person. Nobody gets to see
anything by a claim: whoever joins a watch that runs reads the payment first, under their own token (`topic.py`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Token = str | Callable[[], str]
"""A bearer token, or what is asked for the current one and must not block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is named in a token, and as what."""

    tenant_id: str
    subject: str
    roles: frozenset[str]


class Assertion:
    """The token of one end user, as one watch got it. Raises ValueError for what is no token."""

    def __init__(self, source: Token) -> None:
        self.is_verified = False
        """Whether the server has taken it."""
        self._source = source if callable(source) else lambda: source
        self._token = self._source()
        self.principal, self.expire_time_s = _claims(self._token)

    def current(self) -> str:
        """Return the token as it is now. Raises ValueError if it is somebody else's now, or what its source raises."""
        token = self._source()
        if token != self._token:
            principal, expire_time_s = _claims(token)
            if principal != self.principal:
                raise ValueError("The assertion names somebody else than when the watch began; begin another watch.")
            self._token, self.expire_time_s = token, expire_time_s
        return token


def _claims(token: str) -> tuple[Principal, float]:
    """Return who a token names, and when it expires in seconds since 1970."""
    try:
        body = token.split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        principal = Principal(
            tenant_id=str(claims["tenant"]), subject=str(claims["sub"]), roles=frozenset(map(str, claims["roles"]))
        )
        return principal, float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError("The assertion is not a token of the suite: a JWT with sub, tenant, roles and exp.") from error

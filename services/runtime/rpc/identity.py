"""Who calls: bearer tokens (JWT) and the public keys they are checked with.

A token is signed with a private key we never see, by an issuer named in the settings. Only signatures with a key pair
are taken, and each key only with its own algorithm, so a public key can never pass for a shared secret.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from services.errors import Unauthenticated
from services.runtime.rpc.jwks import KeySet

PAYER: Final = "payer"
SELLER: Final = "seller"
OPERATOR: Final = "operator"
OPERATOR_READONLY: Final = "operator_readonly"
"""Sees what an operator sees, and changes nothing."""
SERVICE: Final = "service"
FRONT: Final = "front"
"""A front itself: opens the stream of watches, in which it sees what its people's assertions reach, and no more."""
ROLES: Final = frozenset({PAYER, SELLER, OPERATOR, OPERATOR_READONLY, SERVICE, FRONT})

LEEWAY: Final = timedelta(seconds=30)
"""How far the issuer's clock and ours may be apart; added on both sides of a token's life."""
TOKEN_BYTES_MAX: Final = 4096
"""A token of ours has about 400; the whole metadata of a call may have 8 KiB."""
SUBJECT_CHARACTERS_MAX: Final = 128
ROLES_MAX: Final = 16
CACHED_TOKENS_MAX: Final = 10_000
"""About 5 MB. A token beyond it is verified again, at 0.2 ms of CPU each time."""
REQUIRED_CLAIMS: Final = ("exp", "iat", "aud", "iss", "sub", "tenant", "roles")

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SUBJECT = re.compile(r"[!-~]+")
_YEAR_9000: Final = 221_845_392_000
"""No `datetime` arithmetic overflows below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a call, as the token says."""

    subject: str
    """The id of the payer, seller or operator at the issuer, or the name of a service."""
    tenant_id: str
    roles: frozenset[str]
    """Those of `ROLES` the token names; others are ignored."""
    expire_time: datetime
    """From then on the token is refused, and streams opened with it end. The leeway is in it."""
    act: str = ""
    """The front that vouches for them; empty where they come with a token of their own."""
    auth_time: datetime | None = None
    """When they proved to the front who they are; None where no front is between."""


def is_tenant_id(text: str) -> bool:
    """Tell whether `text` can be the id of a tenant: 1 to 63 of a-z, 0-9, `_`, `-`."""
    return _TENANT.fullmatch(text) is not None


Claims = Mapping[str, Any]
Accept = Callable[[Caller, Claims], Caller]
"""Looks once more at a good token; raises Unauthenticated if its issuer may not say this."""


class TokenVerifier:
    """Checks tokens, and remembers the good ones by their SHA-256 until they expire or the keys change."""

    def __init__(
        self,
        keys: KeySet,
        *,
        issuer: str,
        audience: str,
        now: Callable[[], datetime],
        accept: Accept = lambda caller, _: caller,
    ) -> None:
        self._accept = accept
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._known: dict[bytes, Caller] = {}
        self._generation = keys.generation

    async def verify(self, token: str) -> Caller:
        """Return who the token speaks for; raise Unauthenticated if it is not good.

        Raises DependencyUnavailable while no keys could be read at all.
        """
        await self._keys.refresh()
        if self._generation != self._keys.generation:  # a key may have been withdrawn: everybody is checked anew
            self._known.clear()
            self._generation = self._keys.generation
        if len(token) > TOKEN_BYTES_MAX:
            raise Unauthenticated
        digest = hashlib.sha256(token.encode()).digest()
        caller = self._known.get(digest)
        if caller is None:
            caller = await self._check(token)
            if len(self._known) >= CACHED_TOKENS_MAX:
                del self._known[next(iter(self._known))]
            self._known[digest] = caller
        elif caller.expire_time <= self._now():
            del self._known[digest]
            raise Unauthenticated(detail="It has expired.")
        return caller

    async def _check(self, token: str) -> Caller:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError as error:
            raise Unauthenticated from error
        key = await self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise Unauthenticated
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key=key.key,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                # The times are checked below, by our clock.
                options={
                    "require": list(REQUIRED_CLAIMS),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_sub": False,
                },
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated from error
        return self._accept(self._caller(claims), claims)

    def _caller(self, claims: dict[str, Any]) -> Caller:
        now = self._now()
        if instant(claims["iat"]) > now + LEEWAY or ("nbf" in claims and instant(claims["nbf"]) > now + LEEWAY):
            raise Unauthenticated(detail="It is not valid yet.")
        expire_time = instant(claims["exp"]) + LEEWAY
        if expire_time <= now:
            raise Unauthenticated(detail="It has expired.")
        subject, tenant_id, roles = claims["sub"], claims["tenant"], claims["roles"]
        if not isinstance(subject, str) or len(subject) > SUBJECT_CHARACTERS_MAX or not _SUBJECT.fullmatch(subject):
            raise Unauthenticated
        if not isinstance(tenant_id, str) or not is_tenant_id(tenant_id):
            raise Unauthenticated
        if not isinstance(roles, list) or len(roles) > ROLES_MAX or not all(isinstance(role, str) for role in roles):
            raise Unauthenticated
        return Caller(subject=subject, tenant_id=tenant_id, roles=ROLES.intersection(roles), expire_time=expire_time)


def instant(claim: object) -> datetime:
    """Return the time that a claim says; raise Unauthenticated if it is none."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        raise Unauthenticated
    if not math.isfinite(claim) or not 0 <= claim < _YEAR_9000:
        raise Unauthenticated
    return datetime.fromtimestamp(claim, UTC)

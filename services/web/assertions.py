"""Whose word a call carries: short tokens that name the person of a session, signed by this front as an issuer.

The services know each front as an issuer that may speak for certain roles alone, so a front that errs reaches no
further than the person whom it names. The front's own token opens the one stream of watches and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, Hash

LIFE: Final = timedelta(minutes=5)
"""Of a token; the services take none that lives longer."""
RENEWED_BEFORE: Final = timedelta(minutes=2)
"""How long before its end a token is replaced: longer than any call takes."""
KEPT_MAX: Final = 10_000
"""Tokens kept to be used again, ~1 KB each; who was longest not named is forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who a session is of, as the services are told."""

    tenant_id: str
    subject: str
    role: str
    auth_time: datetime
    """When they proved who they are."""


class AssertionMinter:
    """Signs tokens, and hands each out again while it has long enough to live."""

    def __init__(self, key: Callable[[], str], *, issuer: str, audience: str, now: Callable[[], datetime]) -> None:
        """`key` returns the private key (PEM) as it is now; `issuer` is also the `act` of each token."""
        self._key = key
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._kept: OrderedDict[Person, tuple[str, str, datetime]] = OrderedDict()
        self._loaded: tuple[str, ec.EllipticCurvePrivateKey, str] | None = None
        """The key as it was read last, and its id: to read it takes longer than to sign."""

    def mint(self, person: Person) -> str:
        """Return a token that names the person, good for two minutes at least."""
        pem, now = self._key(), self._now()
        kept = self._kept.get(person)
        if kept is not None and kept[0] == pem and now < kept[2] - RENEWED_BEFORE:
            self._kept.move_to_end(person)
            return kept[1]
        expire_time = now + LIFE
        token = self._signed(pem, person, now=now, expire_time=expire_time)
        self._kept[person] = (pem, token, expire_time)
        self._kept.move_to_end(person)
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return token

    def metadata(self, person: Person) -> Sequence[tuple[str, str]]:
        """Return what a call in the name of the person is sent with."""
        return (("authorization", f"Bearer {self.mint(person)}"),)

    def _signed(self, pem: str, person: Person, *, now: datetime, expire_time: datetime) -> str:
        key, kid = self._load(pem)
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": person.subject,
            "tenant": person.tenant_id,
            "roles": [person.role],
            "act": {"sub": self._issuer},
            "auth_time": int(person.auth_time.timestamp()),
            "iat": int(now.timestamp()),
            "exp": int(expire_time.timestamp()),
        }
        return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid})

    def _load(self, pem: str) -> tuple[ec.EllipticCurvePrivateKey, str]:
        if self._loaded is None or self._loaded[0] != pem:
            key = serialization.load_pem_private_key(pem.encode(), password=None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise TypeError("BATZEN_ASSERTION_KEY is not a key on the curve P-256")
            self._loaded = (pem, key, key_id(key))
        return self._loaded[1:]


def audience_of(front: str, audience: str) -> str:
    """Return for whom a token is that one front shows another: no service takes it, nor from whoever it was shown."""
    return f"{audience}/{front}"


def key_id(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the id under which the public half of a key is published: the start of its SHA-256."""
    digest = Hash(SHA256())
    digest.update(
        key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return digest.finalize().hex()[:32]

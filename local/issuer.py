"""The development issuer of tokens: a key pair in a directory, and tokens signed with it. Production has a real one.

issuer = Issuer(Path(".batzen/issuer"), now=utc_now)
issuer.jwks                                            the file to verify with
issuer.mint("payer_1", roles={"payer"})                a token
issuer.write_service_tokens(directory, services=…)     <directory>/<service>/<tenant>.jwt, renewed by calling it again
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER: Final = "batzen-development"
AUDIENCE: Final = "batzen"
DEFAULT_TENANT: Final = "main"
TOKEN_LIFE: Final = timedelta(hours=1)
SERVICE_TOKEN_LIFE: Final = timedelta(hours=12)
"""A working day on a laptop; the suite renews them long before."""


class Issuer:
    """Signs tokens with the newest key of `directory`, which is made (0700, key files 0600) if it is not there."""

    def __init__(
        self, directory: Path, *, now: Callable[[], datetime], issuer: str = ISSUER, audience: str = AUDIENCE
    ) -> None:
        self._directory = directory
        self._now = now
        self._issuer = issuer
        self._audience = audience
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = sorted(directory.glob("*.pem"), key=lambda path: path.stat().st_mtime_ns)
        if keys:
            self._use(keys[-1])
            self._publish()
        else:
            self.rotate()

    @property
    def jwks(self) -> Path:
        """The file with the public keys."""
        return self._directory / "jwks.json"

    def rotate(self) -> None:
        """Sign with a new key from now on; tokens signed with the older ones stay good."""
        path = self._directory / f"{uuid.uuid4().hex}.pem"
        private = ec.generate_private_key(ec.SECP256R1())
        _write_private(
            path,
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        self._use(path)
        self._publish()

    def withdraw_older_keys(self) -> None:
        """Make every token useless that was not signed with the newest key."""
        for path in self._directory.glob("*.pem"):
            if path.stem != self._key_id:
                path.unlink()
        self._publish()

    def mint(
        self, subject: str, *, roles: Collection[str], tenant: str = DEFAULT_TENANT, life: timedelta = TOKEN_LIFE
    ) -> str:
        """Return a token that says: `subject` of `tenant` has `roles`, from now on for `life`."""
        now = self._now()
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "tenant": tenant,
            "roles": sorted(roles),
            "iat": int(now.timestamp()),
            "exp": int((now + life).timestamp()),
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})

    def write_service_tokens(
        self,
        directory: Path,
        *,
        services: Iterable[str],
        fronts: Iterable[str] = (),
        tenants: Iterable[str] = (DEFAULT_TENANT,),
    ) -> None:
        """Write a token for each service, front and tenant, replacing older ones in one step each."""
        roles = dict.fromkeys(services, "service") | dict.fromkeys(fronts, "front")
        for service, role in roles.items():
            (directory / service).mkdir(mode=0o700, parents=True, exist_ok=True)
            for tenant in tenants:
                token = self.mint(service, roles={role}, tenant=tenant, life=SERVICE_TOKEN_LIFE)
                _write_private(directory / service / f"{tenant}.jwt", token.encode())

    def _use(self, path: Path) -> None:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{path} is not a key of this issuer")
        self._key = key
        self._key_id = path.stem

    def _publish(self) -> None:
        keys = []
        for path in sorted(self._directory.glob("*.pem")):
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(private, ec.EllipticCurvePrivateKey):
                raise TypeError(f"{path} is not a key of this issuer")
            public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
            keys.append({**public, "kid": path.stem, "use": "sig", "alg": "ES256"})
        _write_private(self.jwks, json.dumps({"keys": keys}, indent=2).encode())


def _write_private(path: Path, content: bytes) -> None:
    """Write a file only its owner can read, so that readers see the old or the new one and nothing between."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    beside.replace(path)

"""The key pair of each front, by which it vouches for the person of a session; production has its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from local.files import write_private
from services.web.assertions import key_id


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontKey:
    """Where the two halves of a pair are."""

    private_key: Path
    jwks: Path


def front_key(directory: Path, front: str) -> FrontKey:
    """Return the pair of a front, made the first time."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    pair = FrontKey(private_key=directory / f"{front}.pem", jwks=directory / f"{front}.jwks.json")
    if not pair.private_key.exists() or not pair.jwks.exists():
        private = ec.generate_private_key(ec.SECP256R1())
        public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        jwks = {"keys": [{**public, "kid": key_id(private), "use": "sig", "alg": "ES256"}]}
        write_private(pair.jwks, json.dumps(jwks))
        write_private(
            pair.private_key,
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
        )
    return pair

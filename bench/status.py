"""Status as a process under measurement: its environment, and tokens for whoever calls it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.light.http2 import Header
from local.databases import ServiceDatabase
from local.issuer import AUDIENCE, ISSUER, Issuer
from services.runtime.rpc.identity import SERVICE

HOST: Final = "127.0.0.1"


class Callers:
    """Makes tokens, and headers that carry them."""

    def __init__(self, directory: Path) -> None:
        self.issuer = Issuer(directory / "issuer", now=lambda: datetime.now(UTC))

    def headers(self, subject: str) -> Sequence[Header]:
        """Return what a light client of that service sends with each call."""
        return ((b"authorization", f"Bearer {self.token(subject)}".encode()),)

    def token(self, subject: str) -> str:
        return self.issuer.mint(subject, roles={SERVICE})

    def environment(self, database: ServiceDatabase, *, port: int) -> dict[str, str]:
        """Return the environment of a status process."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "BATZEN_ENVIRONMENT": "development",
            "BATZEN_LISTEN": f"{HOST}:{port}",
            "BATZEN_RUNTIME_DATABASE_URL": database.runtime_url,
            "BATZEN_JWKS": str(self.issuer.jwks),
            "BATZEN_TOKEN_ISSUER": ISSUER,
            "BATZEN_TOKEN_AUDIENCE": AUDIENCE,
        }

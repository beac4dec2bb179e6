"""Makes the secrets of the local overlay, new ones each time: nothing of the kind is ever committed.

    python -m local.cluster [DIRECTORY]

DIRECTORY is `deploy/kubernetes/overlays/local/generated` unless said otherwise; the overlay's generators read it.
"""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from local.environments import FRONTS, SERVICES, Stripe, subscriptions
from local.files import write_private
from local.front_keys import front_key
from local.issuer import Issuer
from local.personal_key import new_personal_key
from local.processes import ROOT

GENERATED: Final = ROOT / "deploy" / "kubernetes" / "overlays" / "local" / "generated"
DATABASE_HOST: Final = "postgres"
"""The name of PostgreSQL's Service."""
CALLERS: Final = ("gateway", "orchestrator")
"""Services that call others, and so have tokens."""


def generate(directory: Path, *, database_host: str = DATABASE_HOST) -> None:
    """Fill `directory` with everything secret that the overlay mounts."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    statements = []
    for service in (*SERVICES, *FRONTS):
        owner, runtime = f"batzen_{service}_owner", f"batzen_{service}_runtime"
        passwords = {role: secrets.token_urlsafe(24) for role in (owner, runtime)}
        statements += [f"CREATE ROLE {role} LOGIN PASSWORD '{word}';" for role, word in passwords.items()]
        statements += [
            f"CREATE DATABASE batzen_{service} OWNER {owner};",
            f"REVOKE ALL ON DATABASE batzen_{service} FROM PUBLIC;",
            f"GRANT CONNECT ON DATABASE batzen_{service} TO {runtime};",
        ]
        for name, role in (("owner-url", owner), ("runtime-url", runtime)):
            url = f"postgresql+asyncpg://{role}:{passwords[role]}@{database_host}:5432/batzen_{service}"
            _write(directory / service / name, url)
    _write(directory / "postgres" / "password", secrets.token_urlsafe(24))
    _write(directory / "postgres" / "databases.sql", "\n".join(statements) + "\n")

    stripe = Stripe.stand_in()
    _write(directory / "stripe" / "api-key", stripe.api_key)
    _write(directory / "stripe" / "webhook-secrets", stripe.webhook_secrets)
    _write(directory / "stripe" / "connect-webhook-secrets", stripe.connect_webhook_secrets)
    _write(directory / "personal-data" / "key", new_personal_key())
    _write(directory / "webhooks" / "key", new_personal_key())
    _write(directory / "sandbox.env", "".join(f"{name}={value}\n" for name, value in subscriptions().items()))

    for front in FRONTS:
        front_key(directory / "fronts", front)
    _write(directory / "fronts" / "login-client-secret", secrets.token_urlsafe(32))
    issuer = Issuer(directory / "issuer", now=lambda: datetime.now(UTC))
    issuer.write_service_tokens(directory / "tokens", services=CALLERS, fronts=FRONTS)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, content)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if sys.argv[1:] else GENERATED)

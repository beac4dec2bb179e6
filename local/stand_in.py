"""What `make up` keeps of the stand-in over a restart: its state, and the keys that go with it.

What it knows and what our databases know belong together: of one database server, one schema, one format.
`stand-in.json` says so. It is written once both are there and goes before either of them does, so that a start that
dies half-way leads to a new beginning of both, and never to databases that name payments which the stand-in has never
heard of.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import stripe as official
from sqlalchemy.exc import ArgumentError

from local.environments import FRONTS, SERVICES, Stripe
from local.files import write_private
from local.on_servers import without_password
from local.processes import ROOT
from local.storage import digest
from sandbox.keeper import FORMAT

FORGOTTEN: Final = "as it was asked to"
OUTDATED: Final = "what it had was of another database server or another release"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """The stand-in of one directory: as it was, or anew."""

    directory: Path
    server: str
    """Where our databases are."""
    stripe: Stripe
    is_kept: bool
    """Whether it knows what was paid before; if not, our databases must not either."""
    why_anew: str = ""
    """Why it forgets what there was; empty where there was nothing."""

    @property
    def state_file(self) -> Path:
        return self.directory / "stand-in.db"

    def begin(self) -> None:
        """Forget what there was, unless it is kept. The directory must be held."""
        if self.is_kept:
            return
        _record(self.directory).unlink(missing_ok=True)
        for suffix in ("", "-wal", "-shm", "-journal"):
            self.state_file.with_name(self.state_file.name + suffix).unlink(missing_ok=True)

    def confirm(self, identity: str | None) -> None:
        """Note that the databases and the state are there, and belong together; `identity` is that of their server."""
        kept = {
            "belongs_to": _fingerprint(self.server, identity),
            "api_key": self.stripe.api_key,
            "webhook_secrets": self.stripe.webhook_secrets,
            "connect_webhook_secrets": self.stripe.connect_webhook_secrets,
        }
        write_private(_record(self.directory), json.dumps(kept, indent=2))


def stand_in_of(directory: Path, *, server_url: str | None, identity: str | None, forget: bool) -> StandIn:
    """Return the stand-in that goes with the databases on a server; `forget` begins both anew.

    `identity` tells a server from another that was made under the same URL; None where there is none yet.
    """
    server = _server(server_url)
    there = _record(directory).exists()
    kept = None if forget or identity is None else _read(directory, _fingerprint(server, identity))
    if kept is None:
        why = (FORGOTTEN if forget else OUTDATED) if there else ""
        return StandIn(directory=directory, server=server, stripe=Stripe.stand_in(), is_kept=False, why_anew=why)
    return StandIn(directory=directory, server=server, stripe=kept, is_kept=True)


def _record(directory: Path) -> Path:
    return directory / "stand-in.json"


def _read(directory: Path, belongs_to: str) -> Stripe | None:
    try:
        kept = json.loads(_record(directory).read_bytes())
        if kept["belongs_to"] != belongs_to or not (directory / "stand-in.db").exists():
            return None
        return Stripe(
            api_key=kept["api_key"],
            webhook_secrets=kept["webhook_secrets"],
            connect_webhook_secrets=kept["connect_webhook_secrets"],
            is_stand_in=True,
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _fingerprint(server: str, identity: str | None) -> str:
    """Return what the state goes with: another password for the same server is no other server."""
    parts = [server, str(identity), str(FORMAT), official.api_version]
    parts += [digest(ROOT / "services" / service / "migrations") for service in (*SERVICES, *FRONTS)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _server(url: str | None) -> str:
    if url is None:
        return "embedded"
    try:
        return without_password(url)
    except ArgumentError:
        return url  # refused where it is used

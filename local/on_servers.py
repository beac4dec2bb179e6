"""What of ours is on a server of one's own, noted beside the suite that made it, so that it can be removed again.

A server is known by the number that PostgreSQL gave it when it was made: a URL may lead to another one tomorrow. A
database is known by a mark in its comment that no other checkout has: a name may be another installation's. The note
holds no password.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypedDict

import asyncpg
from sqlalchemy.engine import make_url

from local.files import locked, write_private

FILE: Final = "on-servers.json"
MARK_BYTES: Final = 6
"""Of a mark: enough that no two checkouts share one, and short enough for the name of a database."""
PASSWORDS: Final = ("password", "sslpassword")
"""What of a URL's query is secret."""
ROLE_MARK: Final = "Made by a local Batzen."
"""The comment on our roles: those of one server are shared by all checkouts that use it."""


class _There(TypedDict):
    server: str
    mark: str
    databases: list[str]
    roles: list[str]


@dataclass(frozen=True, slots=True)
class Mark:
    """What the databases of one checkout have in their comments."""

    checkout: str

    def comment(self, schema: str = "") -> str:
        """Return the comment on a database of ours, with the schema that it has."""
        return f"{self._begin} schema {schema or 'unknown'}."

    def is_in(self, comment: str | None) -> bool:
        """Whether a comment says that a database is ours."""
        return comment is not None and comment.startswith(self._begin)

    def unfinished(self, database: str) -> str:
        """Return what a database of ours is called until it has its comment."""
        return f"{database}_{self.checkout}"

    @property
    def _begin(self) -> str:
        return f"Made by a local Batzen: checkout {self.checkout},"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnServer:
    """Our databases and roles on one server."""

    file: Path
    identity: str
    server: str
    """How it was reached, for people."""
    mark: Mark
    databases: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    @classmethod
    def at(cls, directory: Path, url: str, *, identity: str) -> Self:
        """Return the note of a server, an empty one where nothing was noted."""
        there = _read(directory / FILE).get(identity) or _nothing_at(url)
        return cls._of(directory / FILE, identity, there)

    @classmethod
    def noted(cls, directory: Path) -> list[Self]:
        """Return what was noted beside the suite of a directory."""
        file = directory / FILE
        return [cls._of(file, identity, there) for identity, there in _read(file).items()]

    @classmethod
    def _of(cls, file: Path, identity: str, there: _There) -> Self:
        return cls(
            file=file,
            identity=identity,
            server=there["server"],
            mark=Mark(there["mark"]),
            databases=tuple(there["databases"]),
            roles=tuple(there["roles"]),
        )

    def note(self, *, databases: Iterable[str], roles: Iterable[str]) -> None:
        """Note what is about to be made there, beside what was noted before."""
        with locked(self.file.with_suffix(".lock")):
            servers = _read(self.file)
            empty = _There(server=self.server, mark=self.mark.checkout, databases=[], roles=[])
            known = servers.setdefault(self.identity, empty)
            before = json.dumps(servers)
            known["databases"] = sorted({*known["databases"], *databases})
            known["roles"] = sorted({*known["roles"], *roles})
            if json.dumps(servers) != before or not self.file.exists():
                write_private(self.file, json.dumps(servers, indent=2))

    def forget(self) -> None:
        """Nothing of ours is there any more."""
        with locked(self.file.with_suffix(".lock")):
            servers = _read(self.file)
            servers.pop(self.identity, None)
            if servers:
                write_private(self.file, json.dumps(servers, indent=2))
            else:
                self.file.unlink(missing_ok=True)
        self.file.with_suffix(".lock").unlink(missing_ok=True)


async def identity_of(connection: asyncpg.Connection, url: str) -> str:
    """Return what tells one server from another; only the URL can, where the server does not let us ask."""
    try:
        return str(await connection.fetchval("SELECT system_identifier FROM pg_control_system()"))
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError, asyncpg.FeatureNotSupportedError):
        return without_password(url)


def without_password(url: str) -> str:
    """Return a URL as it may be kept and shown."""
    return make_url(url).set(password=None).difference_update_query(PASSWORDS).render_as_string()


def _nothing_at(url: str) -> _There:
    return _There(server=without_password(url), mark=secrets.token_hex(MARK_BYTES), databases=[], roles=[])


def _read(file: Path) -> dict[str, _There]:
    try:
        servers: dict[str, _There] = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    return servers

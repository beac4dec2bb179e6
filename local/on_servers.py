"""What of ours is on a server of one's own, noted beside the suite that made it, so that it can be removed again.

The note names the server without its password.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from sqlalchemy.engine import URL, make_url

from local.files import locked, write_private

FILE: Final = "on-servers.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnServer:
    """Our databases and roles on one server."""

    file: Path
    server: str
    databases: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    @classmethod
    def at(cls, directory: Path, url: str) -> Self:
        """Return an empty note of the server at a URL."""
        return cls(file=directory / FILE, server=make_url(url).set(password=None).render_as_string())

    def is_at(self, url: URL) -> bool:
        """Whether a URL is of the same server, whoever logs in there and with which database."""
        ours = make_url(self.server)
        return (ours.host, ours.port) == (url.host, url.port)

    def note(self, *, databases: Iterable[str], roles: Iterable[str]) -> None:
        """Note what is about to be made there, beside what was noted before."""
        with locked(self.file.with_suffix(".lock")):
            servers = _read(self.file)
            known = servers.setdefault(self.server, {"databases": [], "roles": []})
            before = json.dumps(servers)
            known["databases"] = sorted({*known["databases"], *databases})
            known["roles"] = sorted({*known["roles"], *roles})
            if json.dumps(servers) != before or not self.file.exists():
                write_private(self.file, json.dumps(servers, indent=2))

    def forget(self) -> None:
        """Nothing of ours is there any more."""
        with locked(self.file.with_suffix(".lock")):
            servers = _read(self.file)
            servers.pop(self.server, None)
            if servers:
                write_private(self.file, json.dumps(servers, indent=2))
            else:
                self.file.unlink(missing_ok=True)
        self.file.with_suffix(".lock").unlink(missing_ok=True)


def noted(directory: Path) -> list[OnServer]:
    """Return what was noted beside the suite of a directory."""
    file = directory / FILE
    return [
        OnServer(file=file, server=server, databases=tuple(there["databases"]), roles=tuple(there["roles"]))
        for server, there in _read(file).items()
    ]


def _read(file: Path) -> dict[str, dict[str, list[str]]]:
    try:
        servers: dict[str, dict[str, list[str]]] = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    return servers

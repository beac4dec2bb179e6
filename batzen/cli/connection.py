"""Where the suite is and who we are there: from options, from the environment, or from what `make up` wrote.

`make up` writes `.batzen/connection.json` (for its owner only) in its checkout; it is found from any folder below.
Each setting is taken from the first place that has it: option, environment, file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import grpc

from batzen.client import Addresses, Client

FILE: Final = Path(".batzen/connection.json")
TLS: Final = ("BATZEN_TLS_AUTHORITY", "BATZEN_TLS_KEY", "BATZEN_TLS_CERTIFICATE")
"""Files, named as the services name them: a suite that has them takes no call without."""
TARGET: Final = re.compile(
    r"(?:dns:(?://[^/]*/)?)?(?:\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})|unix(-abstract)?:.+"
)
"""What gRPC connects to: HOST:PORT, the same after `dns:///`, or a socket in the file system."""
PORT_MAX: Final = 65_535
ROLES: Final = ("operator", "service", "payer", "seller")


class NotConnected(Exception):
    """Nothing says where the suite is, or who is asking; the message says what to do."""


class AddressRefused(NotConnected):
    """What says where a service is cannot be an address; the message says who says so, and how to write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Everything a command needs to know about the suite it talks to."""

    addresses: Addresses
    token: str = field(repr=False, default="")
    credentials: grpc.ChannelCredentials | None = field(repr=False, default=None)
    """Of mutual TLS; plaintext without."""
    file: Path | None = None
    """Re-read at each call where the token comes from it: `make up` renews it."""
    role: str = ROLES[0]
    logs: Path | None = None
    seller_id: str | None = None
    """A seller that is there to be tried with."""
    stand_in_url: str | None = None
    """Where what stands for Stripe is; None where Stripe itself is used, or nobody says."""

    def client(self) -> Client:
        """Return a client; use it with `async with`. Raises `NotConnected` without a token."""
        self.checked_token()
        return Client(token=self._newest_token, addresses=self.addresses, credentials=self.credentials)

    def checked_token(self) -> str:
        """Return the token; raise `NotConnected` if there is none."""
        if not self.token:
            raise NotConnected("No token. Start the suite with `make up`, or set BATZEN_TOKEN to one of yours.")
        return self.token

    def _newest_token(self) -> str:
        if self.file is None:
            return self.token
        try:
            return str(_read(self.file)["tokens"][self.role])
        except NotConnected:  # `make up` ended; the call itself will say that nothing answers
            return self.token


def find(
    *,
    environ: Mapping[str, str],
    file: Path | None = None,
    role: str = ROLES[0],
    token: str | None = None,
    addresses: Mapping[str, str | None] | None = None,
    start: Path | None = None,
) -> Connection:
    """Return what options (the arguments), environment and file say together. Raises `NotConnected`."""
    path = file or _named(environ) or _above(start or Path.cwd())
    written = _read(path) if path is not None else {}
    known = Addresses(**written.get("addresses", {}))
    given = {name: _checked(f"--{name}", address) for name, address in (addresses or {}).items() if address}
    token = token or environ.get("BATZEN_TOKEN", "").strip() or None
    from_file = written.get("tokens", {}).get(role, "")
    named = {
        name: _checked(f"BATZEN_{name.upper()}_ADDRESS", value)
        for name in Addresses.__dataclass_fields__
        if (value := environ.get(f"BATZEN_{name.upper()}_ADDRESS", "").strip())
    }
    return Connection(
        addresses=replace(known, **{**named, **given}),
        token=token or from_file,
        credentials=_credentials(environ),
        file=path if token is None and from_file else None,
        role=role,
        logs=Path(written["logs"]) if "logs" in written else None,
        seller_id=written.get("seller_id") or None,
        stand_in_url=written.get("stand_in_url") or None,
    )


def _credentials(environ: Mapping[str, str]) -> grpc.ChannelCredentials | None:
    files = {name: environ.get(name, "").strip() for name in TLS}
    if not any(files.values()):
        return None
    missing = [name for name, file in files.items() if not file]
    if missing:
        raise NotConnected(f"TLS needs {' and '.join(missing)}, too.")
    try:
        authority, key, certificate = (Path(file).read_bytes() for file in files.values())
    except OSError as error:
        raise NotConnected(f"A file of TLS cannot be read: {error}") from error
    return grpc.ssl_channel_credentials(authority, key, certificate)


def _checked(name: str, address: str) -> str:
    found = TARGET.fullmatch(address)
    if found is None or not 0 < int(found["port"] or 1) <= PORT_MAX:
        raise AddressRefused(f"{name} is {address!r}. Write it as HOST:PORT, such as 127.0.0.1:7001.")
    return address


def _named(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("BATZEN_CONNECTION", "").strip()
    return Path(named) if named else None


def _above(folder: Path) -> Path | None:
    return next((path for parent in (folder, *folder.parents) if (path := parent / FILE).is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotConnected(f"There is no {path}; `make up` writes it while it runs.") from None
    except (OSError, ValueError) as error:
        raise NotConnected(f"{path} cannot be read: {error}") from error
    if not isinstance(written, dict):
        raise NotConnected(f"{path} is not what `make up` writes.")
    return written

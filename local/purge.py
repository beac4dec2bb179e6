"""What `make up` and `make demo` made, and how it goes: `batzen down`, `batzen down --purge`, `make clean`.

    python -m local.purge        all of it but what was installed, which `make clean` removes itself

Databases and roles on a server of one's own are those that were noted there (storage.py). Such a server is dealt with
first: as long as something of ours is on it, the note of it stays.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from local.on_servers import OnServer, noted
from local.place import left_over
from local.postgres import EmbeddedPostgres
from local.running import holder

STATE: Final = Path(__file__).parents[1] / ".batzen"
STOP_MAX_S: Final = 60
"""A suite that ends in order takes a few seconds; its database's last write may take longer on a busy machine."""
POLL_S: Final = 0.1
CONNECT_TIMEOUT_S: Final = 10
MADE: Final = (
    "connection.json", "fronts", "issuer", "logs", "passwords.json", "passwords.lock", "personal-key",
    "postgres", "server-passwords.json", "server-passwords.lock", "stand-in.db", "stand-in.db-shm", "stand-in.db-wal",
    "stand-in.json", "suite.lock", "tenants.toml", "tokens", "webhook-key",
)  # fmt: skip
"""What a run leaves in its folder."""


class NotPurged(Exception):
    """Something of ours could not be removed; the message says what, and what to do."""


@dataclass(slots=True)
class Purged:
    """What came of it, for people to read."""

    stopped: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def stop(directory: Path, purged: Purged) -> None:
    """End the suite of a directory in order, and wait until it has; raises NotPurged if it does not."""
    deadline = time.monotonic() + STOP_MAX_S
    pid = holder(directory)
    if pid is None:
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has just ended
    except PermissionError:
        raise NotPurged(f"The suite of {directory} (process {pid}) is another user's; end it first.") from None
    while holder(directory) is not None:
        if time.monotonic() > deadline:
            raise NotPurged(
                f"The suite of {directory} (process {pid}) did not end within {STOP_MAX_S} s; end it first."
            )
        time.sleep(POLL_S)
    purged.stopped.append(str(directory))


async def purge(state: Path, *, environ: Mapping[str, str], programs: bool = False) -> Purged:
    """Remove what runs made: first what is on servers, then what is on this machine. Raises NotPurged.

    `programs` removes the copy of the database's programs, too, that other suites of the same installation may use.
    """
    purged = Purged()
    directories = [one for one in (state, state / "demo") if one.exists()]
    for directory in directories:
        await asyncio.to_thread(stop, directory, purged)
    for directory in directories:
        for there in noted(directory):
            await _dropped(there, _url_of(there, environ), purged)
            there.forget()
    for directory in reversed(directories):
        await asyncio.to_thread(_remove, directory, purged)
    roots = (state / "postgres", state / "demo", *((state / "venv",) if programs else ()))
    for folder in left_over(*roots):
        shutil.rmtree(folder, ignore_errors=True)
        purged.removed.append(str(folder))
    return purged


def _remove(directory: Path, purged: Purged) -> None:
    if (directory / "postgres").exists():
        EmbeddedPostgres(directory / "postgres").remove()
    for name in MADE:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        else:
            continue
        purged.removed.append(str(path))
    if directory.name == "demo" and not any(directory.iterdir()):
        directory.rmdir()


def _url_of(there: OnServer, environ: Mapping[str, str]) -> URL:
    """Return how the server is reached: no password of it was kept."""
    given = environ.get("BATZEN_DATABASE_URL", "").strip()
    try:
        url = make_url(given).set(drivername="postgresql") if given else None
    except ArgumentError:
        url = None
    if url is None or not there.is_at(url):
        raise NotPurged(
            f"{', '.join(there.databases)} are on {there.server}. Set BATZEN_DATABASE_URL to that server and run this "
            f"again. If it is gone for good, remove {there.file}."
        )
    return url


async def _dropped(there: OnServer, url: URL, purged: Purged) -> None:
    try:
        connection = await asyncpg.connect(url.render_as_string(hide_password=False), timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise NotPurged(f"{there.server} cannot be used: {error or type(error).__name__}") from error
    try:
        for database in there.databases:
            await connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            purged.removed.append(f"database {database}")
        for role in there.roles:
            try:
                await connection.execute(f'DROP ROLE IF EXISTS "{role}"')
                purged.removed.append(f"role {role}")
            except asyncpg.DependentObjectsStillExistError:
                purged.left.append(f"role {role}, which another database still needs")
    except asyncpg.PostgresError as error:
        raise NotPurged(f"{there.server} refused: {error}") from error
    finally:
        await connection.close()


def main() -> None:
    """Remove what runs made, and say what could not be."""
    try:
        purged = asyncio.run(purge(STATE, environ=os.environ, programs=True))
    except NotPurged as problem:
        sys.exit(str(problem))
    for left in purged.left:
        print(f"Left: {left}")


if __name__ == "__main__":
    main()

"""What `make up` and `make demo` made, and how it goes: `batzen down`, `batzen down --purge`, `make clean`.

    python -m local.purge        all of it but what was installed, which `make clean` removes itself

Databases and roles on a server of one's own are those that were noted there (storage.py) and that have our mark. Such
a server is dealt with first: as long as something of ours is on it, the note of it stays. No suite begins meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from local.databases import found_database, found_role
from local.on_servers import ROLE_MARK, Mark, OnServer, identity_of
from local.place import left_over
from local.postgres import EmbeddedPostgres
from local.running import LOCK, SuiteBusy, alone, holder, is_held

STATE: Final = Path(__file__).parents[1] / ".batzen"
STOP_MAX_S: Final = 60
"""A suite that ends in order takes a few seconds; its database's last write may take longer on a busy machine."""
POLL_S: Final = 0.1
CONNECT_TIMEOUT_S: Final = 10
MADE: Final = (
    "connection.json", "fronts", "issuer", "logs", "passwords.json", "passwords.lock", "personal-key",
    "postgres", "server-passwords.json", "server-passwords.lock", "stand-in.db", "stand-in.db-shm", "stand-in.db-wal",
    "stand-in.json", "tenants.toml", "tokens", "webhook-key",
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
    while pid is None and is_held(directory):  # it has only just begun
        _wait(deadline, f"What runs in {directory}")
        pid = holder(directory)
    if pid is None:
        return
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has just ended
    except PermissionError:
        raise NotPurged(f"The suite of {directory} (process {pid}) is another user's; end it first.") from None
    while is_held(directory):
        _wait(deadline, f"The suite of {directory} (process {pid})")
    purged.stopped.append(str(directory))


def _wait(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise NotPurged(f"{what} did not end within {STOP_MAX_S} s; end it first.")
    time.sleep(POLL_S)


async def purge(state: Path, *, environ: Mapping[str, str], programs: bool = False) -> Purged:
    """Remove what runs made: first what is on servers, then what is on this machine. Raises NotPurged.

    `programs` removes the copy of the database's programs, too, that other suites of the same installation may use.
    """
    purged = Purged()
    directories = [one for one in (state, state / "demo") if one.exists()]
    with ExitStack() as held:
        for directory in directories:
            await asyncio.to_thread(stop, directory, purged)
            _hold(directory, held)
        await _drop([there for directory in directories for there in OnServer.noted(directory)], environ, purged)
        for directory in directories:
            await asyncio.to_thread(_remove, directory, purged)
        roots = (state / "postgres", state / "demo", *((state / "venv",) if programs else ()))
        for folder in left_over(*roots):
            shutil.rmtree(folder, ignore_errors=True)
            purged.removed.append(str(folder))
        for directory in reversed(directories):
            (directory / LOCK).unlink()  # from here on another suite may begin
    with contextlib.suppress(OSError):  # none, or something is in it
        (state / "demo").rmdir()
    return purged


def _hold(directory: Path, held: ExitStack) -> None:
    """Let no suite begin in a directory until we are done."""
    try:
        held.enter_context(alone(directory))
    except SuiteBusy:
        raise NotPurged(f"A suite has just begun in {directory}; run this again.") from None


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


async def _drop(notes: Sequence[OnServer], environ: Mapping[str, str], purged: Purged) -> None:
    """Drop what is on the server that is named; raises NotPurged if something is on another one."""
    if not notes:
        return
    connection, identity = await _connected(notes, environ)
    here = [there for there in notes if there.identity == identity]
    try:
        for there in here:
            for database in there.databases:
                await _drop_database(connection, database, there.mark, purged)
        for role in sorted({role for there in here for role in there.roles}):
            await _drop_role(connection, role, purged)
    except asyncpg.PostgresError as error:
        raise NotPurged(f"{here[0].server} refused: {error}") from error
    finally:
        await connection.close()
    for there in here:
        there.forget()
    if elsewhere := [there for there in notes if there.identity != identity]:
        raise NotPurged(_where(elsewhere))


async def _connected(notes: Sequence[OnServer], environ: Mapping[str, str]) -> tuple[asyncpg.Connection, str]:
    """Return a connection to the server that is named, since no password of it was kept, and which one it is."""
    given = environ.get("BATZEN_DATABASE_URL", "").strip()
    if not given:
        raise NotPurged(_where(notes))
    try:
        url = make_url(given).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ArgumentError) as error:
        said = str(error) or type(error).__name__
        if isinstance(error, ArgumentError):  # what it says has the whole URL, with its password
            said = "it is no URL of PostgreSQL"
        raise NotPurged(f"{_where(notes)}\nBATZEN_DATABASE_URL cannot be used: {said}") from error
    return connection, await identity_of(connection, given)


def _where(notes: Sequence[OnServer]) -> str:
    """Return what is where, and what to do."""
    return "\n".join(
        f"{', '.join(there.databases)} are on {there.server}. Set BATZEN_DATABASE_URL to that server and run this "
        f"again. If it is gone for good, remove {there.file}."
        for there in notes
    )


async def _drop_database(connection: asyncpg.Connection, name: str, mark: Mark, purged: Purged) -> None:
    await connection.execute(f'DROP DATABASE IF EXISTS "{mark.unfinished(name)}" WITH (FORCE)')
    there = await found_database(connection, name)
    if there is None:
        return
    if not mark.is_in(there.comment):
        purged.left.append(f"database {name}, which was not made from here")
        return
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    purged.removed.append(f"database {name}")


async def _drop_role(connection: asyncpg.Connection, name: str, purged: Purged) -> None:
    there = await found_role(connection, name)
    if there is None:
        return
    if there.comment != ROLE_MARK:
        purged.left.append(f"role {name}, which was not made from here")
        return
    try:
        await connection.execute(f'DROP ROLE "{name}"')
        purged.removed.append(f"role {name}")
    except asyncpg.DependentObjectsStillExistError:
        purged.left.append(f"role {name}, which another database still needs")


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

"""What runs made goes again: a suite that runs, databases and roles on a server of one's own, temporary folders."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from local.databases import ServiceDatabase, roles_of
from local.on_servers import FILE, OnServer
from local.place import left_over, own_folder
from local.postgres import EmbeddedPostgres, PostgresError
from local.processes import ROOT
from local.purge import NotPurged, Purged, purge, stop
from local.running import LOCK, SuiteBusy, alone, holder, is_held
from local.storage import running_storage

SERVICE = "purged"
MIGRATIONS = ROOT / "services" / "pricing" / "migrations"
HOLD = """
import signal, sys
from pathlib import Path
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
from local.child import end_with_parent
from local.running import alone
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # of the thread that is begun next, too
end_with_parent()
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    signal.sigwait({signal.SIGTERM})
"""
HOLD_UNSAID = """
import fcntl, os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
from local.child import end_with_parent
end_with_parent()
with open(sys.argv[1], "ab") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    signal.sigwait({signal.SIGUSR1})
    lock.write(b"%d" % os.getpid())
    lock.flush()
    print("said", flush=True)
    signal.sigwait({signal.SIGTERM})
"""
"""What a suite is for a moment: it holds the folder, and has not said who it is."""


async def _nothing(_database: ServiceDatabase) -> None: ...


async def _make(
    directory: Path, server: EmbeddedPostgres, *, prefix: str | None = None, fresh: bool = True
) -> ServiceDatabase:
    """Make a database on a server as on one that somebody named."""
    prefix = prefix or f"{directory.name}_"
    async with running_storage(directory, server_url=server.admin_url, prefix=prefix) as storage:
        return await storage.database(SERVICE, fresh=fresh, migrations=MIGRATIONS, migrate=_nothing)


async def _execute(server: EmbeddedPostgres, *statements: str) -> None:
    connection = await asyncpg.connect(server.admin_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _there(server: EmbeddedPostgres, like: str) -> list[str]:
    connection = await asyncpg.connect(server.admin_url)
    try:
        query = "SELECT datname FROM pg_database WHERE datname LIKE $1 "
        query += "UNION SELECT rolname FROM pg_roles WHERE rolname LIKE $1"
        return sorted(row[0] for row in await connection.fetch(query, f"%{like}%"))
    finally:
        await connection.close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / f"purge_{os.getpid()}"
    folder.mkdir()
    return folder


async def test_databases_and_roles_on_a_server_go(state: Path, server: EmbeddedPostgres) -> None:
    await _make(state, server)
    assert len(await _there(server, SERVICE)) == 4, "a database, its template, two roles"
    [note] = OnServer.noted(state)
    assert str(make_url(server.admin_url).password) not in (state / FILE).read_text()

    purged = await purge(state, environ={"BATZEN_DATABASE_URL": server.admin_url})

    assert await _there(server, SERVICE) == []
    assert {*note.databases, *note.roles} == {one.partition(" ")[2] for one in purged.removed if " " in one}
    assert list(state.iterdir()) == []
    assert (await purge(state, environ={})).removed == [], "a second time there is nothing"


async def test_a_role_that_another_database_needs_is_left_and_said(state: Path, server: EmbeddedPostgres) -> None:
    other = state.parent / f"other_{os.getpid()}"
    other.mkdir()
    await _make(state, server)
    await _make(other, server)
    environ = {"BATZEN_DATABASE_URL": server.admin_url}

    purged = await purge(state, environ=environ)

    assert [one.split(",")[0] for one in purged.left] == [
        "role batzen_purged_owner",
        "role batzen_purged_runtime",
    ]
    assert (await purge(other, environ=environ)).left == []
    assert await _there(server, SERVICE) == []


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_database_that_was_there_before_us_stays(state: Path, server: EmbeddedPostgres, fresh: bool) -> None:
    name = f"{state.name}_{SERVICE}"
    await _execute(server, f'CREATE DATABASE "{name}"')  # another installation's, with its payments
    try:
        with pytest.raises(PostgresError, match=f"database {name} is on that server, and was not made from here"):
            await _make(state, server, fresh=fresh)

        await purge(state, environ={"BATZEN_DATABASE_URL": server.admin_url})

        assert await _there(server, SERVICE) == [name], "and no role was made"
    finally:
        await _execute(server, f'DROP DATABASE "{name}"')


async def test_a_database_that_took_the_name_of_ours_stays_and_is_said(state: Path, server: EmbeddedPostgres) -> None:
    name = (await _make(state, server)).name
    await _execute(server, f'DROP DATABASE "{name}"', f'CREATE DATABASE "{name}"')
    try:
        purged = await purge(state, environ={"BATZEN_DATABASE_URL": server.admin_url})

        assert purged.left == [f"database {name}, which was not made from here"]
        assert await _there(server, SERVICE) == [name]
    finally:
        await _execute(server, f'DROP DATABASE "{name}"')


async def test_a_role_that_somebody_else_made_keeps_its_password(state: Path, server: EmbeddedPostgres) -> None:
    role, _ = roles_of(SERVICE)
    await _execute(server, f'CREATE ROLE "{role}" LOGIN')
    try:
        with pytest.raises(PostgresError, match=f"role {role} is on that server, and was not made from here"):
            await _make(state, server)
        [note] = OnServer.noted(state) or [OnServer.at(state, server.admin_url, identity=server.identity() or "")]
        note.note(databases=(), roles=(role,))  # as if it had been ours once

        purged = await purge(state, environ={"BATZEN_DATABASE_URL": server.admin_url})

        assert (purged.removed, purged.left) == ([], [f"role {role}, which was not made from here"])
        assert await _there(server, SERVICE) == [role]
    finally:
        await _execute(server, f'DROP ROLE "{role}"')


async def test_a_start_that_dies_before_the_mark_is_there_leaves_nothing(state: Path, server: EmbeddedPostgres) -> None:
    name = (await _make(state, server)).name
    [note] = OnServer.noted(state)
    unfinished = note.mark.unfinished(name)
    await _execute(server, f'DROP DATABASE "{name}"', f'CREATE DATABASE "{unfinished}"')

    await _make(state, server, fresh=False)
    assert unfinished not in await _there(server, SERVICE)
    assert name in await _there(server, SERVICE)

    await _execute(server, f'CREATE DATABASE "{unfinished}"')
    await purge(state, environ={"BATZEN_DATABASE_URL": server.admin_url})
    assert await _there(server, SERVICE) == []


async def test_an_admin_who_is_no_superuser_is_enough(state: Path, server: EmbeddedPostgres) -> None:
    await _execute(server, "CREATE ROLE purging LOGIN CREATEDB CREATEROLE PASSWORD 'for-this-test'")
    url = make_url(server.admin_url).set(username="purging", password="for-this-test")
    ops = url.render_as_string(hide_password=False)
    try:
        for _ in range(2):
            async with running_storage(state, server_url=ops, prefix=f"{state.name}_") as storage:
                await storage.database(SERVICE, fresh=True, migrations=MIGRATIONS, migrate=_nothing)

        assert (await purge(state, environ={"BATZEN_DATABASE_URL": ops})).left == []
        assert await _there(server, SERVICE) == []
    finally:
        await _execute(server, "DROP ROLE purging")


async def test_another_server_at_the_same_url_is_not_touched(state: Path, server: EmbeddedPostgres) -> None:
    await _make(state, server)
    there = await _there(server, SERVICE)
    note = (state / FILE).read_text()
    (state / FILE).write_text(note.replace(str(server.identity()), "1"))  # it was made on another one
    environ = {"BATZEN_DATABASE_URL": server.admin_url}

    with pytest.raises(NotPurged, match="Set BATZEN_DATABASE_URL to that server"):
        await purge(state, environ=environ)

    assert await _there(server, SERVICE) == there
    (state / FILE).write_text(note)
    await purge(state, environ=environ)


async def test_what_is_on_the_named_server_goes_where_something_is_on_another(
    state: Path, server: EmbeddedPostgres
) -> None:
    await _make(state, server)
    OnServer.at(state, "postgresql://elsewhere/postgres", identity="1").note(databases=("batzen_x",), roles=())

    with pytest.raises(NotPurged, match="batzen_x are on postgresql://elsewhere/postgres"):
        await purge(state, environ={"BATZEN_DATABASE_URL": server.admin_url})

    assert await _there(server, SERVICE) == []
    assert list(json.loads((state / FILE).read_text())) == ["1"]


def test_a_note_has_no_password_of_the_query_either(tmp_path: Path) -> None:
    noted = OnServer.at(tmp_path, "postgresql://h/postgres?user=me&password=secret&sslpassword=secret", identity="1")

    assert noted.server == "postgresql://h/postgres?user=me"


async def test_roles_that_demo_and_up_share_go_with_the_last_database(state: Path, server: EmbeddedPostgres) -> None:
    (state / "demo").mkdir()
    await _make(state, server)
    await _make(state / "demo", server, prefix=f"{state.name}_demo_")

    purged = await purge(state, environ={"BATZEN_DATABASE_URL": server.admin_url})

    assert await _there(server, SERVICE) == []
    assert purged.left == []
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("given", ["", "postgresql://someone@127.0.0.1:1/postgres", "no url"])
async def test_without_the_server_nothing_goes_and_it_is_said_what_to_do(
    state: Path, server: EmbeddedPostgres, given: str
) -> None:
    await _make(state, server)
    before = sorted(path.name for path in state.iterdir())

    with pytest.raises(NotPurged, match="Set BATZEN_DATABASE_URL") as said:
        await purge(state, environ={"BATZEN_DATABASE_URL": given})

    assert f"{state.name}_{SERVICE}" in str(said.value)
    assert sorted(path.name for path in state.iterdir() if path.name != LOCK) == before
    await purge(state, environ={"BATZEN_DATABASE_URL": server.admin_url})


async def test_a_server_that_does_not_answer_is_said(state: Path, server: EmbeddedPostgres) -> None:
    await _make(state, server)
    url = server.admin_url
    refused = make_url(url).set(password="wrong").render_as_string(hide_password=False)

    with pytest.raises(NotPurged, match="cannot be used"):
        await purge(state, environ={"BATZEN_DATABASE_URL": refused})

    await purge(state, environ={"BATZEN_DATABASE_URL": url})


def test_a_suite_that_runs_is_ended_in_order(state: Path) -> None:
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holding.stdout is not None
    assert holding.stdout.readline() == "held\n"
    assert holder(state) == holding.pid
    purged = Purged()

    stop(state, purged)
    stop(state, purged)

    assert holding.wait() == 0
    assert (purged.stopped, holder(state)) == ([str(state)], None)


def test_a_suite_that_has_not_said_who_it_is_is_ended_too(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holding = subprocess.Popen(
        [sys.executable, "-c", HOLD_UNSAID, str(state / LOCK)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holding.stdout is not None
    said = holding.stdout
    assert said.readline() == "held\n"
    heard: list[str] = []

    def say(_seconds: float) -> None:
        """While it is waited for, the suite goes on."""
        if not heard:
            holding.send_signal(signal.SIGUSR1)
            heard.append(said.readline())
        os.sched_yield()

    monkeypatch.setattr("local.purge.time.sleep", say)
    purged = Purged()
    stop(state, purged)

    assert (heard, holding.wait(), purged.stopped) == (["said\n"], 0, [str(state)])


async def test_no_suite_begins_while_it_is_removed(state: Path) -> None:
    OnServer.at(state, "postgresql://elsewhere/postgres", identity="1").note(databases=("batzen_x",), roles=())
    begun: list[bool] = []

    class Beginning(dict[str, str]):
        """Somebody begins a suite in the middle: the environment is read when the folder has been looked at."""

        def get(self, _name: str, default: str = "") -> str:  # type: ignore[override]
            try:
                with alone(state):
                    begun.append(True)
            except SuiteBusy:
                begun.append(False)
            return default

    with pytest.raises(NotPurged):
        await purge(state, environ=Beginning())

    assert begun == [False]
    assert not is_held(state)


def test_a_lock_that_was_removed_holds_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purge removes the lock last: whoever opened it just before must not hold what nobody sees."""
    flock = fcntl.flock
    removed: list[bool] = []

    def late(file: int, how: int) -> None:
        if not removed:
            (state / LOCK).unlink()
            removed.append(True)
        flock(file, how)

    monkeypatch.setattr("fcntl.flock", late)

    with alone(state):
        assert holder(state) == os.getpid()
        with pytest.raises(SuiteBusy), alone(state):
            pass


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Folders of ours in the temporary one, by what they are for."""
    kept = tmp_path / "kept"
    keys = {name: kept / name for name in ("here", "served", "elsewhere", "gone")}
    made = {}
    for name, key in keys.items():
        if name != "gone":
            key.mkdir(parents=True)
        folder = own_folder(tmp_path, key=key)
        assert folder is not None
        made[name] = folder
    yield made
    for folder in made.values():
        shutil.rmtree(folder, ignore_errors=True)


def test_temporary_folders_of_what_is_ours_are_found_and_no_others(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (folders["served"] / "data").mkdir()
    (folders["served"] / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")

    found = set(left_over(tmp_path / "kept" / "here", tmp_path / "kept" / "served"))

    assert found == {folders["here"]}, "a checkout that is gone may be on a disk that is not mounted"
    assert set(left_over(tmp_path / "kept" / "gone")) == {folders["gone"]}


def test_a_folder_that_others_may_write_to_is_not_ours(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders["here"].chmod(0o777)

    assert left_over(tmp_path / "kept" / "here") == []

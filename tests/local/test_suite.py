"""The suite as processes: started by what is ready, restarted, and gone without leftovers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from batzen.status.v1.status_pb2 import ListPaymentsRequest
from local.ports import free_ports
from local.postgres import PostgresError
from local.processes import ROOT, Child, ProcessFailed
from local.storage import Storage
from local.suite import Suite, SuiteBusy
from tests.eventually import WITHIN_S
from tests.local.fast_suite import fast_suite


@pytest.fixture
async def suite(directory: Path, storage: Storage) -> AsyncIterator[Suite]:
    async with fast_suite(directory, ports=free_ports(), storage=storage) as running:
        yield running


async def _ask(suite: Suite) -> None:
    async with suite.client("operator", sub="operator_1") as batzen:
        await batzen.status.ListPayments(ListPaymentsRequest())


def _environment(suite: Suite) -> str:
    return Path(f"/proc/{suite.pid('status')}/environ").read_text()


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_what_was_started_answers_and_is_gone_afterwards(directory: Path) -> None:
    async with fast_suite(directory, ports=free_ports()) as suite:
        await _ask(suite)
        pids = [suite.pid(process) for process in suite.processes]
        url = suite.database_url("status").replace("postgresql+asyncpg", "postgresql")

    assert not any(_is_alive(pid) for pid in pids if pid is not None)
    with pytest.raises(OSError):
        await asyncpg.connect(url)


@pytest.mark.faults
async def test_a_killed_process_starts_again_where_it_was(suite: Suite) -> None:
    await suite.kill("status")

    assert await suite.ended("status") == -signal.SIGKILL
    await suite.start("status")
    await _ask(suite)


async def test_a_restart_takes_changed_settings(suite: Suite, directory: Path) -> None:
    recorded = directory / "recorded"
    suite.env_for("status")["BATZEN_CRASH_RECORD"] = str(recorded)
    before = suite.pid("status")

    await suite.restart("status")

    assert before != suite.pid("status")
    assert str(recorded) in _environment(suite)


async def test_our_own_settings_do_not_reach_the_processes(
    directory: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATZEN_LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_mine")

    async with fast_suite(directory, ports=free_ports(), storage=storage) as suite:
        environment = _environment(suite)

    assert "sk_test_mine" not in environment
    assert "BATZEN_OWNER_DATABASE_URL" not in environment


@pytest.mark.faults
async def test_two_suites_in_one_directory_are_refused(suite: Suite, directory: Path) -> None:
    with pytest.raises(SuiteBusy):
        async with fast_suite(directory, ports=free_ports()):
            pass

    await _ask(suite)


@pytest.mark.faults
async def test_a_taken_port_ends_the_start_with_what_the_service_said(directory: Path, storage: Storage) -> None:
    ports = free_ports()
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", ports["status"])
    async with taken:
        with pytest.raises(ProcessFailed, match="status") as failed:
            async with fast_suite(directory, ports=ports, storage=storage):
                pass

    assert str(directory / "logs" / "status.log") in str(failed.value)


async def test_a_given_storage_is_used_and_left(suite: Suite, directory: Path, storage: Storage) -> None:
    await _ask(suite)

    assert storage.prefix in suite.database_url("status")
    await storage.check()
    assert not (directory / "postgres").exists()


async def test_a_fresh_suite_forgets_and_another_keeps(directory: Path, storage: Storage) -> None:
    async def tables_after(*, fresh: bool) -> int:
        async with fast_suite(directory, ports=free_ports(), storage=storage, fresh=fresh) as suite:
            url = suite.owner_url("status").replace("postgresql+asyncpg", "postgresql")
            connection = await asyncpg.connect(url)
            await connection.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
            await connection.execute("INSERT INTO kept VALUES (1)")
            count = await connection.fetchval("SELECT count(*) FROM kept")
            await connection.close()
            return int(count)

    assert await tables_after(fresh=True) == 1
    assert await tables_after(fresh=False) == 2
    assert await tables_after(fresh=True) == 1


HOLDER = """
import asyncio, sys
from pathlib import Path
from local.child import end_with_parent
from local.ports import free_ports
from local.postgres import PostgresError
from tests.local.fast_suite import fast_suite

async def main():
    async with fast_suite(Path(sys.argv[1]), ports=free_ports()) as suite:
        print(*(suite.pid(process) for process in suite.processes), flush=True)
        await asyncio.Event().wait()

end_with_parent()  # should the tests themselves be killed
asyncio.run(main())
"""


@pytest.mark.faults
async def test_when_we_are_killed_every_process_ends_by_itself(directory: Path) -> None:
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLDER,
        str(directory),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    pids = [int(pid) for pid in (await holder.stdout.readline()).split()]
    postmaster = int((directory / "postgres/data/postmaster.pid").read_text().split()[0])

    holder.kill()
    await holder.wait()

    assert len(pids) == 1
    async with asyncio.timeout(WITHIN_S):
        for pid in [*pids, postmaster]:
            await _gone(pid)


async def _gone(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _until_written(path: Path) -> None:
    while not path.read_text():
        os.sched_yield()


@pytest.mark.faults
async def test_a_child_that_does_not_listen_to_sigterm_is_killed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "deaf.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
        "while True: time.sleep(1)\n"
    )
    monkeypatch.setattr("local.processes.STOP_TIMEOUT_S", 0.2)
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    child = Child("deaf", environment=environment, log_file=directory / "deaf.log")
    await child.start()
    await asyncio.to_thread(_until_written, directory / "deaf.log")

    assert await child.stop() == -signal.SIGKILL


async def test_a_server_that_cannot_be_used_lets_nothing_be_forgotten(directory: Path) -> None:
    begun: list[bool] = []
    with pytest.raises(PostgresError, match="begins with mysql"):
        async with fast_suite(
            directory, ports=free_ports(), server_url="mysql://me@127.0.0.1/x", begin=lambda: begun.append(True)
        ):
            pass

    assert begun == []

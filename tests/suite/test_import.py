"""A long import is killed on the way, as are the services that it goes to: what is there in the end is the same.

make soak                                          100,000 records, from a new seed
BATZEN_IMPORT_SEED=7 BATZEN_IMPORT_RECORDS=5000 make soak

Half of the records are read through without anybody disturbing them, on a suite of their own; all of them are on
another, where the command and the services are killed. Of each of the first half both say the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from local.environments import SERVICES
from local.ports import free_ports
from local.storage import Storage
from local.suite import Suite, running_suite
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.forking import ForkServer
from tests.old_system import invented
from tests.suite.conftest import RestartablePostgres

SEED: Final = int(os.environ.get("BATZEN_IMPORT_SEED") or random.SystemRandom().randrange(1_000_000))
RECORDS: Final = int(os.environ.get("BATZEN_IMPORT_RECORDS") or 100_000)
KILLS: Final = 10
"""Of the command; each time a service is killed before, too."""
LONG_S: Final = 3_600.0
SHORT_RECORDS: Final = 60
BEGAN: Final = datetime(2023, 1, 1, tzinfo=UTC)

SAYS: Final[Mapping[str, str]] = {
    "status": """
        SELECT p.payment_id, p.revision, p.state, p.settled, p.snapshot::text, p.open_time, p.update_time, (
            SELECT string_agg(concat_ws('|', t.revision, t.request_id, t.state, t.snapshot, t.record_time), ' '
                ORDER BY t.revision) FROM transitions t WHERE t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id)
        FROM payments p ORDER BY p.open_time, p.payment_id LIMIT $1""",
    "orchestrator": """
        SELECT p.payment_id, p.stage, p.revision, p.latest_snapshot::text, p.split::text, p.terms::text, p.due_time,
            p.booking_ids, (SELECT string_agg(c.booking_id || c.payment_id, ' ' ORDER BY 1) FROM booking_claims c
                WHERE c.tenant_id = p.tenant_id AND c.booking_id = ANY(p.booking_ids))
        FROM payments p ORDER BY p.create_time, p.payment_id LIMIT $1""",
    "gateway": """
        SELECT i.record_id, encode(i.digest, 'hex'), i.subject_id, p.books::text,
            (p.observation - 'mirror_version' - 'observe_time')::text, mirror_of(i.tenant_id, i.subject_id)::text
        FROM imports i LEFT JOIN payments p ON p.tenant_id = i.tenant_id AND p.payment_id = i.subject_id
        ORDER BY i.record_id LIMIT $1""",
}
"""What each service keeps of payments, in the order of the records, without what goes by the clock of the import."""

Say = Callable[[str], None]


@pytest.mark.soak
async def test_an_import_that_is_killed_comes_to_the_same(
    suite_folder: Path, suite_postgres: RestartablePostgres, say: Say
) -> None:
    say(f"BATZEN_IMPORT_SEED={SEED} BATZEN_IMPORT_RECORDS={RECORDS}\n")
    chance = random.Random(SEED)
    half = RECORDS // 2
    quiet, whole = suite_folder / "half.jsonl", suite_folder / "whole.jsonl"
    write(quiet, half)
    write(whole, RECORDS)
    async with a_suite(suite_folder, suite_postgres, "quiet") as suite:
        began = time.monotonic()
        told = await imported(suite, quiet)
        assert told == {"lines": half, "dry_run": False, "imported": half, "unchanged": 0, "refused": 0}
        spent = time.monotonic() - began
        say(f"undisturbed: {half} records in {spent:.0f} s, {half / spent:.0f}/s; {memory(suite)}")
        expected = {service: await said(suite, service, half) for service in SAYS}
    async with a_suite(suite_folder, suite_postgres, "killed") as suite:
        began = time.monotonic()
        for kill in range(KILLS):
            await killed_on_the_way(suite, whole, chance, until_line=(kill + 1) * RECORDS // (KILLS + 1))
        told = await imported(suite, whole)
        spent = time.monotonic() - began
        say(f"killed {KILLS} times: {RECORDS} records in {spent:.0f} s, {RECORDS / spent:.0f}/s; {memory(suite)}\n")
        assert told["lines"] == told["imported"] + told["unchanged"] == RECORDS
        assert told["refused"] == 0
        for service in SAYS:
            found = await said(suite, service, half)
            assert found == expected[service], service
            assert len(await said(suite, service, RECORDS)) == RECORDS
        assert await untold(suite, RECORDS)


@pytest.mark.faults
async def test_a_short_import_that_is_killed_comes_to_its_end(suite: Suite, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    write(file, SHORT_RECORDS)
    await killed_on_the_way(suite, file, random.Random(7), until_line=0, service="gateway")
    told = await imported(suite, file)
    assert told["imported"] + told["unchanged"] == SHORT_RECORDS


def write(file: Path, count: int) -> None:
    """Write so many records, the same each time, older ones first."""
    with file.open("w", encoding="utf-8") as opened:
        for number in range(count):
            opened.write(json.dumps(invented(number, began=BEGAN)) + "\n")


@asynccontextmanager
async def a_suite(folder: Path, postgres: RestartablePostgres, name: str) -> AsyncIterator[Suite]:
    storage = Storage(
        admin_url=postgres.server.admin_url, passwords=folder / "passwords.json", prefix=f"import_{name}_"
    )
    async with (
        ForkServer() as forks,
        running_suite(folder / name, ports=free_ports(), storage=storage, spawn=forks.spawn) as suite,
    ):
        yield suite


async def command(suite: Suite, file: Path) -> asyncio.subprocess.Process:
    addresses = suite.addresses
    environment = {
        **os.environ,
        "BATZEN_TOKEN": suite.token("operator", sub="anna"),
        "BATZEN_ORCHESTRATOR_ADDRESS": addresses.orchestrator,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batzen", "import", str(file), "--json", env=environment, stdout=asyncio.subprocess.PIPE
    )


async def imported(suite: Suite, file: Path) -> dict[str, Any]:
    """Let a file be imported to its end, and return what was said last."""
    async with asyncio.timeout(LONG_S):
        process = await command(suite, file)
        output, _ = await process.communicate()
    lines = output.splitlines()
    assert process.returncode == 0, lines[-3:]
    return dict(json.loads(lines[-1]))


async def killed_on_the_way(
    suite: Suite, file: Path, chance: random.Random, *, until_line: int, service: str = ""
) -> None:
    """Kill a service, and the command, once it has said something of a line that is not before `until_line`."""
    process = await command(suite, file)
    assert process.stdout is not None
    service = service or chance.choice([one for one in SERVICES if one != "pricing"])
    was_hit = False
    async with asyncio.timeout(LONG_S):
        while line := await process.stdout.readline():
            number = json.loads(line).get("line", 0)
            if number > until_line and not was_hit:
                was_hit = True
                await suite.kill(service)
                await suite.start(service)
            elif was_hit and chance.random() < 0.01:
                process.kill()
                break
        await process.wait()
        await process.communicate()


async def said(suite: Suite, service: str, count: int) -> list[tuple[Any, ...]]:
    """Return what a service keeps of the first records."""
    connection = await asyncpg.connect(plain_dsn(suite.owner_url(service)))
    try:
        return [tuple(row.values()) for row in await connection.fetch(SAYS[service], count)]
    finally:
        await connection.close()


async def untold(suite: Suite, count: int) -> bool:
    """Whether nobody was told of anything, once all payments were heard of."""
    connection = await asyncpg.connect(plain_dsn(suite.owner_url("orchestrator")))
    try:

        async def is_heard() -> bool:
            return bool(await connection.fetchval("SELECT count(*) = $1 FROM followed_payments", count))

        await eventually(is_heard, within_s=LONG_S, what="all payments are heard of")
        return not await connection.fetchval("SELECT EXISTS (SELECT FROM facts)")
    finally:
        await connection.close()


def memory(suite: Suite) -> str:
    """Return what the services and the command took at most."""
    peaks = {"command": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024}
    for service in SERVICES:
        if (pid := suite.pid(service)) is not None:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
            peaks[service] = int(found[1]) // 1024 if found else 0
    return ", ".join(f"{name} {mebibytes} MiB" for name, mebibytes in peaks.items())

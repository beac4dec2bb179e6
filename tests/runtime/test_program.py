"""What a service does by the word on its command line."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn
from services.runtime.process.program import Program
from services.runtime.process.settings import Reader
from tests.conftest import Databases

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).parent / "migrations_sample"


async def _serve(_: object) -> None:
    raise AssertionError("nothing here serves")


def program(migrations: Path) -> Program[None]:
    def read(_: Reader) -> None:
        return None

    return Program(service="pricing", migrations=migrations, read=read, serve=_serve)


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create_empty("sample")
    yield database
    await databases.drop(database)


async def test_migrate_expands_and_contracts_only_when_told_so(database: ServiceDatabase, tmp_path: Path) -> None:
    migrations = tmp_path / "migrations"
    shutil.copytree(SAMPLE, migrations)
    (migrations / "0003_no_notes.sql").write_text("-- contract\nALTER TABLE bookings ADD COLUMN contracted integer;\n")
    environ = {"BATZEN_OWNER_DATABASE_URL": database.owner_url, "BATZEN_RUNTIME_DATABASE_URL": database.runtime_url}

    await _run(migrations, environ, "migrate")
    assert await _applied(database) == [1, 2]

    await _run(migrations, environ, "migrate", "--contract")
    assert await _applied(database) == [1, 2, 3]


@pytest.mark.parametrize("arguments", [["migrate", "--contrct"], ["migrate", "--contract", "now"], ["--contract"]])
def test_what_is_no_command_is_told_which_there_are(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"usage: python -m services\.pricing \[migrate \[--contract\]\]"):
        program(tmp_path).main(arguments, {})


async def _run(migrations: Path, environ: dict[str, str], *arguments: str) -> None:
    """Run the program in a process of its own: signals are for main threads."""
    code = f"from tests.runtime.test_program import *; program(Path({str(migrations)!r})).main({list(arguments)!r})"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, env={"PATH": os.environ["PATH"], **environ}
    )
    assert await process.wait() == 0


async def _applied(database: ServiceDatabase) -> list[int]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        rows = await connection.fetch("SELECT number FROM schema_migrations ORDER BY number")
    finally:
        await connection.close()
    return [row["number"] for row in rows]

"""One suite for all tests of a process: the four services, the stand-in and a database server that can be restarted."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local.environments import SERVICES
from local.ports import free_ports
from local.storage import Storage
from local.suite import Suite, running_suite
from tests.status.restarts import RestartablePostgres
from tests.suite.journeys import PAYER, Traveller


@pytest.fixture(scope="session")
def suite_folder() -> Iterator[Path]:
    """A folder that the database's own user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="batzen-whole-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
def suite_postgres(suite_folder: Path) -> Iterator[RestartablePostgres]:
    """The server under the suite."""
    with RestartablePostgres(suite_folder / "postgres") as postgres:
        yield postgres


@pytest.fixture(scope="session")
async def suite(suite_folder: Path, suite_postgres: RestartablePostgres) -> AsyncIterator[Suite]:
    """A running suite. Whoever stops a part of it takes `traveller`, which starts it again."""
    storage = Storage(
        admin_url=suite_postgres.server.admin_url, passwords=suite_folder / "passwords.json", prefix="whole_"
    )
    async with running_suite(suite_folder / "suite", ports=free_ports(), storage=storage) as running:
        yield running


@pytest.fixture
async def traveller(suite: Suite) -> AsyncIterator[Traveller]:
    """A shop with its seller, and a payer; afterwards nothing goes wrong any more and everything runs."""
    async with suite.client("service", sub="shop") as shop, suite.client("payer", sub=PAYER) as payer:
        made = Traveller(suite, shop, payer, suite.sandbox)
        await made.put_seller()
        yield made
        await suite.sandbox.clear_faults()
        await suite.sandbox.resume()
        await suite.sandbox.webhooks()
        for process in SERVICES:
            if suite.pid(process) is None:
                await suite.start(process)

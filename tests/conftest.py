"""A PostgreSQL server per test process, and a fresh database of any service per test."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import pytest

from local.databases import ServiceDatabase, create_service_database
from local.postgres import EmbeddedPostgres
from services.runtime.database.connections import role_of
from services.runtime.database.migrations import migrate
from tests.compiling import compile_ahead
from tests.complaints import Complaints
from tests.heard import Listener, listening, unheard
from tests.missing_tools import MissingTools
from tests.quick_postgres import quick_postgres
from tests.repeated import Repeated
from tests.spreading import Spreading, turn_of

SERVICES = Path(__file__).parents[1] / "services"
SETTING_PREFIXES = ("BATZEN_", "STRIPE_", "PG")

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

MakeDatabase = Callable[[str], Awaitable[ServiceDatabase]]


class Databases:
    """Databases for tests: the migrations of a service run once, and every test gets a copy of the result."""

    def __init__(self, server: EmbeddedPostgres, *, folder: Path) -> None:
        self._admin_url = server.admin_url
        self._passwords = folder / "passwords.json"
        self._templates: dict[Path, ServiceDatabase] = {}
        self._made = 0

    async def create(self, service: str, *, migrations: Path | None = None) -> ServiceDatabase:
        """Make a database of `service` with all of its migrations applied, contractions too."""
        directory = migrations or SERVICES / service / "migrations"
        if directory not in self._templates:
            template = await self._new(service)
            role = role_of(template.runtime_url)
            await migrate(template.owner_url, directory, runtime_role=role, contract=True)
            self._templates[directory] = template
        return await self._new(service, template=self._templates[directory].name)

    async def create_empty(self, service: str) -> ServiceDatabase:
        """Make a database without any migration."""
        return await self._new(service)

    async def drop(self, database: ServiceDatabase) -> None:
        connection = await asyncpg.connect(self._admin_url)
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{database.name}" WITH (FORCE)')
        finally:
            await connection.close()

    async def _new(self, service: str, *, template: str | None = None) -> ServiceDatabase:
        self._made += 1
        return await create_service_database(
            self._admin_url,
            service,
            passwords=self._passwords,
            database=f"test_{service}_{self._made}",
            template=template,
        )


LISTENER = pytest.StashKey[Listener]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-reason", action="store_true", help="fail unless every documented reason was heard")
    parser.addoption("--repeat-failures", action="store_true", help="run few failures again, alone: three have to pass")
    parser.addoption("--record-flows", action="store_true", help="write what is recorded of a flow into docs/flows.md")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LISTENER] = listening()
    config.pluginmanager.register(MissingTools(), "missing-tools")
    config.pluginmanager.register(Complaints(), "complaints")
    if config.getoption("--repeat-failures"):
        config.pluginmanager.register(Repeated(), "repeated")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile what the processes of pytest-xdist will import; it starts them after this."""
    if session.config.getoption("numprocesses", None):
        compile_ahead(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist has heard."""
    heard = getattr(node, "workeroutput", {}).get("heard", [])
    node.config.stash[LISTENER].heard |= {(method, reason) for method, reason in heard}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what was heard, or judge it."""
    heard = session.config.stash[LISTENER].heard
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["heard"] = sorted(heard)
    elif session.config.getoption("--every-reason") and (missing := unheard(heard)):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line("\nNo test was refused for these, which a contract documents:", red=True)
        for one in missing:
            reporter.write_line(f"  {one}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Make half a million objects that stay, and let no collection of garbage look at them, now or in any test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, the whole suite's files before all."""
    items.sort(key=lambda item: turn_of(item.nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spreading | None:
    """Spread files, not single tests, over the processes of `--dist loadgroup`."""
    return Spreading(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests reaches them."""
    for name in [name for name in os.environ if name.startswith(SETTING_PREFIXES)]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The server of this test process."""
    with enterable_folder() as folder, quick_postgres(folder / "postgres") as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server for one test, which may stop and start it."""
    with enterable_folder() as folder, quick_postgres(folder / "postgres") as server:
        yield server


@contextmanager
def enterable_folder() -> Iterator[Path]:
    """Make a folder that PostgreSQL's unprivileged user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="batzen-tests-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def roles_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the passwords of the roles on `postgres` are kept: one file, whoever makes databases there."""
    return tmp_path_factory.mktemp("roles")


@pytest.fixture(scope="session")
def databases(postgres: EmbeddedPostgres, roles_folder: Path) -> Databases:
    """For databases that live longer than a test: `create` in a fixture of your own, and `drop` after it."""
    return Databases(postgres, folder=roles_folder)


@pytest.fixture
async def make_database(databases: Databases) -> AsyncIterator[MakeDatabase]:
    """`await make_database("pricing")` is a fresh, migrated database, gone after the test."""
    made: list[ServiceDatabase] = []

    async def make(service: str) -> ServiceDatabase:
        made.append(await databases.create(service))
        return made[-1]

    yield make
    for database in made:
        await databases.drop(database)

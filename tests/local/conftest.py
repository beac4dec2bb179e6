"""A database server for suites, and folders for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.postgres import EmbeddedPostgres
from local.storage import Storage
from tests.quick_postgres import quick_postgres


@pytest.fixture
def directory() -> Iterator[Path]:
    """A folder that the database's own user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="batzen-suite-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """A server for all suites here; not the tests' own, whose passwords a suite would change."""
    with tempfile.TemporaryDirectory(prefix="batzen-suite-") as folder:
        Path(folder).chmod(0o711)
        with quick_postgres(Path(folder) / "postgres") as running:
            yield running


@pytest.fixture
def storage(server: EmbeddedPostgres, directory: Path) -> Storage:
    prefix = f"{directory.name.replace('-', '_').lower()}_"
    return Storage(admin_url=server.admin_url, passwords=directory / "passwords.json", prefix=prefix)

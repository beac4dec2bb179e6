"""One suite with both fronts, one browser, and a fresh context for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import pytest

from local.environments import FRONTS
from local.ports import free_ports
from local.postgres import EmbeddedPostgres
from local.storage import Storage
from local.suite import Suite, running_suite
from services.runtime.database.connections import plain_dsn
from tests.forking import OF_THE_FRONTS, OF_THE_SUITE, ForkServer
from tests.web.browser import needed, new_context

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page


RUNNING: Final = pytest.StashKey[Suite]()


@pytest.fixture(scope="session")
async def suite(
    tmp_path_factory: pytest.TempPathFactory,
    postgres: EmbeddedPostgres,
    roles_folder: Path,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Suite]:
    """The whole suite with its fronts, on the server of this test process."""
    directory: Path = tmp_path_factory.mktemp("web")
    storage = Storage(admin_url=postgres.admin_url, passwords=roles_folder / "passwords.json", prefix="web_")
    async with (
        ForkServer(*OF_THE_SUITE, *OF_THE_FRONTS) as forks,
        running_suite(directory, ports=free_ports(), storage=storage, spawn=forks.spawn, fronts=FRONTS) as running,
    ):
        request.config.stash[RUNNING] = running
        yield running
    del request.config.stash[RUNNING]


@pytest.fixture(autouse=True, scope="module")
async def payers_begin_anew(request: pytest.FixtureRequest) -> None:
    """What the file before asked for does not count: the payer of all tests is quicker than any person."""
    running = request.config.stash.get(RUNNING, None)
    if running is not None:
        connection = await asyncpg.connect(plain_dsn(running.database_url("bff")))
        await connection.execute("DELETE FROM rate_buckets")
        await connection.close()


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The one browser of the session; skips where the machine has none."""
    executable = needed()
    from playwright.async_api import async_playwright  # noqa: PLC0415 there only with what drives a browser

    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=executable)
        yield started
        await started.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser that knows nothing yet, on a desk, in English."""
    made = await new_context(browser, locale="en-GB", viewport={"width": 1180, "height": 900})
    yield made
    await made.close()


@pytest.fixture
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A page that fails its test on a violation of its security policy, or an error in its script."""
    opened = await context.new_page()
    troubles: list[str] = []
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    opened.on(
        "console",
        lambda message: troubles.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield opened
    assert troubles == []

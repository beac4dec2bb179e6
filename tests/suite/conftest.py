"""One suite for all tests of a process: the four services, the stand-in and a database server that can be restarted."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.environments import FRONTS, SERVICES, Stripe, StripeKeyRefused
from local.ports import free_ports
from local.storage import Storage
from local.stripe_key import tried
from local.suite import Suite, running_suite
from tests.forking import ForkServer
from tests.status.restarts import RestartablePostgres
from tests.suite import at_stripe
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
async def suite(
    suite_folder: Path, suite_postgres: RestartablePostgres, request: pytest.FixtureRequest
) -> AsyncIterator[Suite]:
    """A running suite. Whoever stops a part of it takes `traveller`, which starts it again.

    Long runs have the fronts, too, which are watched, scraped and restarted as the services are.
    """
    is_long = any(item.get_closest_marker("soak") for item in request.session.items)
    storage = Storage(
        admin_url=suite_postgres.server.admin_url, passwords=suite_folder / "passwords.json", prefix="whole_"
    )
    at = Stripe.from_environ(at_stripe.settings()) if at_stripe.is_asked_for() else Stripe.stand_in()
    try:
        await tried(at)
    except StripeKeyRefused as refusal:
        pytest.exit(str(refusal), returncode=2)
    async with (
        ForkServer() as forks,
        running_suite(
            suite_folder / "suite",
            ports=free_ports(),
            storage=storage,
            spawn=forks.spawn,
            fronts=FRONTS if is_long else (),
            stripe=at,
        ) as running,
    ):
        yield running


@pytest.fixture(scope="session")
async def stripe(suite: Suite) -> AsyncIterator[Any]:
    """The stand-in's controls; or, of Stripe's test mode, as much as Stripe itself lets one do."""
    if not at_stripe.is_asked_for():
        yield suite.sandbox
        return
    async with at_stripe.AtStripe(suite.stripe) as made:
        yield made


@pytest.fixture
async def traveller(suite: Suite, stripe: Any) -> AsyncIterator[Traveller]:
    """A shop with its seller, and a payer; afterwards nothing goes wrong any more and everything runs."""
    async with suite.client("service", sub="shop") as shop, suite.client("payer", sub=PAYER) as payer:
        made = Traveller(suite, shop, payer, stripe)
        await made.put_seller()
        yield made
        if suite.stripe.is_stand_in:
            await suite.sandbox.clear_faults()
            await suite.sandbox.resume()
            await suite.sandbox.webhooks()
        for process in (*SERVICES, *FRONTS):
            if process in suite.processes and suite.pid(process) is None:
                await suite.start(process)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def say(text: str) -> None:
        with capsys.disabled():
            sys.stderr.write(f"\n{text}")

    return say


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the stand-in, and leave that out where Stripe's test mode is asked for."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and (why := at_stripe.why_stand_in(item.name, item.path.name)):
            item.add_marker(pytest.mark.stand_in(why))
            if at_stripe.is_asked_for():
                item.add_marker(pytest.mark.skip(reason=f"needs the stand-in: {why}"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what differs from the stand-in, against which each of these tests holds in `make test`."""
    if at_stripe.is_asked_for():
        for line in at_stripe.told(terminalreporter.stats):
            terminalreporter.write_line(line)

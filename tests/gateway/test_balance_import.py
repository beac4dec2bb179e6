"""The platform's balance transactions are read in their order, and each is kept and booked once."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from local.issuer import Issuer
from sandbox.control import SandboxControl
from services.gateway.balance import importer as importing
from services.gateway.balance.importer import BalanceImport
from services.gateway.balance.metrics import BalanceMetrics
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import Meter
from services.runtime.rpc.call_context import acting_for
from services.runtime.work.kinds import RetryLater, Work
from tests.clock import Clock
from tests.conftest import Databases
from tests.gateway.clocks import level
from tests.gateway.conftest import Sink, running_gateway
from tests.gateway.samples import Payments
from tests.metrics import Figures

TENANT = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One platform's balance at Stripe, and what is kept of it."""

    connection: asyncpg.Connection
    imports: BalanceImport
    payments: Payments
    stripe: SandboxControl
    account: str
    clock: Clock

    async def read_on(self) -> bool:
        """Keep what is new, as far as one step goes."""
        with acting_for(TENANT):
            return await self.imports.read_on(TENANT)

    async def read_between(self, since: datetime, until: datetime) -> int:
        """Keep what was made between two times."""
        with acting_for(TENANT):
            return await self.imports.keep_between(TENANT, since, until)

    async def read_to_its_end(self) -> None:
        """Do what is due of reading: all that is new, and what came late."""
        work = Work(kind=self.imports.work, tenant_id=TENANT, key=("platform",), fence=0, failures=0)
        with acting_for(TENANT), pytest.raises(RetryLater):
            await self.imports.read(work)

    async def kept(self) -> Counter[str]:
        """Return how many balance transactions of each type are kept."""
        return Counter(row["type"] for row in await self.connection.fetch("SELECT type FROM balance_transactions"))

    async def sums(self) -> dict[str, int]:
        """Return what the accounts come to that are not zero."""
        query = "SELECT account, sum(amount_minor)::bigint AS minor FROM ledger_entries GROUP BY account"
        return {row["account"]: row["minor"] for row in await self.connection.fetch(query) if row["minor"]}

    async def at_stripe_minor(self) -> int:
        """Return what Stripe says that the platform has."""
        shown = await self.stripe.balance(self.account)
        return sum(one["amount"] for name in ("available", "pending") for one in shown[name])


@pytest.fixture
async def balance(
    databases: Databases, stripe: SandboxControl, sink: tuple[Sink, str], tmp_path: Path
) -> AsyncIterator[Balance]:
    """A gateway with a Stripe account and a clock of its own: what is read begins where the account became ours."""
    database, key, clock = await databases.create("gateway"), f"sk_test_{secrets.token_hex(16)}", Clock()
    await level(clock, stripe)
    async with (
        running_gateway(
            database.runtime_url,
            stripe_key=key,
            stripe_base=stripe.base_url,
            sink_address=sink[1],
            issuer=Issuer(tmp_path / "keys", now=clock.now),
            clock=clock,
        ) as replica,
        replica.connect() as stubs,
    ):
        payments = Payments(stubs, stripe)
        await payments.prepare_seller()
        connection = await asyncpg.connect(plain_dsn(database.runtime_url))
        imports = replica.parts.imports
        yield Balance(
            connection=connection,
            imports=imports,
            payments=payments,
            stripe=stripe,
            account=await replica.parts.provider.own_account_id(),
            clock=clock,
        )
        await connection.close()
    await databases.drop(database)


async def test_what_the_books_say_is_what_stripe_says(balance: Balance) -> None:
    await balance.payments.paid()
    await balance.stripe.settle()
    await balance.stripe.book(balance.account, "stripe_fee", amount=-450, currency="chf")
    assert await balance.read_on()
    assert await balance.kept() == {"charge": 1, "transfer": 1, "application_fee": 1, "stripe_fee": 1}
    assert (await balance.sums())["stripe_balance"] == await balance.at_stripe_minor()
    before = await balance.sums()
    assert await balance.read_on()
    assert await balance.sums() == before
    await balance.stripe.top_up(balance.account, 5_000, currency="chf")
    assert await balance.read_on()
    assert (await balance.sums())["stripe_balance"] == await balance.at_stripe_minor()


async def test_it_is_shown_for_how_long_it_was_not_read(balance: Balance) -> None:
    clock, meter = balance.clock, Meter()
    metrics, age = BalanceMetrics(meter), "batzen_balance_read_age_seconds"

    async def shown() -> float:
        await balance.imports.look(TENANT, metrics)
        return Figures.read(await meter.text())[age]

    hour_s = timedelta(hours=1).total_seconds()
    clock.advance(timedelta(hours=1))
    never = await shown()
    assert hour_s <= never < 2 * hour_s  # since the account is the tenant's
    await balance.imports.begin(TENANT)
    await balance.read_to_its_end()
    assert await shown() < importing.SWEEP_EVERY.total_seconds()
    await balance.stripe.fault("server_error", route="GET /v1/balance_transactions", times=None)
    clock.advance(timedelta(hours=3))
    assert 3 * hour_s <= await shown() < 4 * hour_s
    await balance.stripe.clear_faults()
    await balance.imports.look("nobody", metrics)
    assert Figures.read(await meter.text())[age] == 0


async def test_reading_goes_on_in_bounded_steps(balance: Balance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "PAGES_MAX", 1)
    for number in range(120):
        await balance.stripe.book(balance.account, "stripe_fee", amount=-100 - number, currency="chf")
    assert not await balance.read_on()
    assert (await balance.kept())["stripe_fee"] == 100
    assert await balance.read_on()
    assert (await balance.kept())["stripe_fee"] == 120
    assert (await balance.sums())["stripe_balance"] == await balance.at_stripe_minor()


async def test_what_is_between_two_times_is_kept_once_whoever_reads_it(balance: Balance) -> None:
    clock = balance.clock
    for amount in (-100, -200, -300):
        await balance.stripe.book(balance.account, "stripe_fee", amount=amount, currency="chf")
    until = clock.now() + importing.SWEEP_EVERY
    assert await balance.read_between(clock.now() - importing.SWEEP_EVERY, until) == 3
    assert await balance.read_between(clock.now() - importing.SWEEP_EVERY, until) == 0
    assert await balance.read_on()
    assert await balance.sums() == {"stripe_balance": -600, "stripe_fee": 600}

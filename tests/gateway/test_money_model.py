"""Random histories of carts, captures, refunds, disputes, transfers and outages: in the end each party has its part.

make soak                                     for three minutes, from a new seed
BATZEN_SOAK_SEED=7 BATZEN_SOAK_SECONDS=600 make soak
"""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from local.issuer import Issuer
from services.runtime.database.connections import plain_dsn
from tests.clock import Clock
from tests.conftest import Databases
from tests.gateway.conftest import Sink, running_gateway
from tests.gateway.money_histories import History
from tests.gateway.money_rules import check
from tests.gateway.money_world import World, money_world, stripe_that_waits

# Read now: no setting of the person who runs the tests reaches a test.
SEED: Final = int(os.environ.get("BATZEN_SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
SECONDS: Final = float(os.environ.get("BATZEN_SOAK_SECONDS") or 180)

SHORT_SEED: Final = 4
SHORT_HISTORIES: Final = (1, pytest.param(4, marks=pytest.mark.faults))
STEPS: Final = 25


@asynccontextmanager
async def new_world(databases: Databases, sink: tuple[Sink, str], keys: Path) -> AsyncIterator[World]:
    """A world with a clock of its own, and tokens by that: the session's clock is moved by other tests."""
    database, clock = await databases.create("gateway"), Clock()
    async with (
        stripe_that_waits(SHORT_SEED) as stripe,
        running_gateway(
            database.runtime_url,
            stripe_key=f"sk_test_{secrets.token_hex(16)}",
            stripe_base=stripe.base_url,
            sink_address=sink[1],
            issuer=Issuer(keys, now=clock.now),
            clock=clock,
            works=False,
        ) as replica,
    ):
        connection = await asyncpg.connect(plain_dsn(database.runtime_url))
        async with money_world(replica, stripe, clock, connection) as made:
            yield made
        await connection.close()
    await databases.drop(database)


@pytest.fixture
async def world(databases: Databases, sink: tuple[Sink, str], tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(databases, sink, tmp_path / "keys") as made:
        yield made


async def comes_right(world: World, seed: str) -> Counter[str]:
    """Play one history and hold it to the rules, before and after nobody lacks anything; return what happened."""
    history = History(world, seed)
    try:
        await history.play(STEPS)
        await history.calms()
        await check(history, is_healed=False)
        await history.heals()
        await check(history, is_healed=True)
    except BaseException as failure:
        failure.add_note(f"seed {seed}\n" + "\n".join(history.told))
        raise
    return history.seen


@pytest.mark.parametrize("histories", SHORT_HISTORIES)
async def test_whatever_happens_each_party_gets_its_part(world: World, histories: int) -> None:
    for number in range(histories):
        await comes_right(world, f"{SHORT_SEED}/{number}")


async def test_the_rules_find_a_transfer_that_nobody_asked_for_and_a_unit_too_much(world: World) -> None:
    history = History(world, "planted")
    while not any([await world.payments.charges(sale.payment_id) for sale in history.sales]):
        await history.play(0)
    await history.heals()
    await check(history, is_healed=True)
    [sale] = [one for one in history.sales if await world.payments.charges(one.payment_id)]
    [charge] = await world.payments.charges(sale.payment_id)

    await world.stripe.change_booking(charge["balance_transaction"], amount=charge["amount"] + 1)
    with pytest.raises(AssertionError):
        await check(history, is_healed=True)
    await world.stripe.change_booking(charge["balance_transaction"], amount=charge["amount"])
    await check(history, is_healed=True)

    account = next(iter(history.accounts.values()))
    await world.stripe.webhooks(drop=1.0)
    given = {"amount": 1, "currency": "chf", "destination": account, "transfer_group": sale.payment_id}
    await world.stripe.transfer(world.account, **given)
    with pytest.raises(AssertionError):
        await check(history, is_healed=True)


@pytest.mark.soak
async def test_whatever_happens_for_long_each_party_gets_its_part(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            sys.stderr.write(f"\n{text}")

    say(f"BATZEN_SOAK_SEED={SEED} BATZEN_SOAK_SECONDS={SECONDS:.0f}\n")
    until, number, seen = time.monotonic() + SECONDS, 0, Counter[str]()
    while time.monotonic() < until:
        seen += await comes_right(world, f"{SEED}/{number}")
        number += 1
    say(f"{number} histories\n" + "\n".join(f"{count:6} {what}" for what, count in sorted(seen.items())) + "\n")

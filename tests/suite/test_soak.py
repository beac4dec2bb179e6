"""Many payments with random histories, while services are killed and Stripe fails: everything comes right in the end.

make soak                                     for three minutes, from a new seed
BATZEN_SOAK_SEED=7 BATZEN_SOAK_SECONDS=600 make soak
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable
from typing import Final

import pytest

from local.suite import Suite
from tests.eventually import eventually
from tests.status.restarts import RestartablePostgres
from tests.suite.journeys import Traveller
from tests.suite.soaking import ABANDONED_AFTER_S, Player, Plot, Troubles, play_all, soaking
from tests.suite.verdict import problems

# Read now: no setting of the person who runs the tests reaches a test.
SEED: Final = int(os.environ.get("BATZEN_SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
SECONDS: Final = float(os.environ.get("BATZEN_SOAK_SECONDS") or 180)

SHORT_SEED: Final = 17
SHORT_PAYMENTS: Final = 30
SETTLED_WITHIN_S: Final = 90.0
"""After the last trouble. What failed many times in a row is tried again after a minute."""
REPLAYED: Final = 10

Say = Callable[[str], None]


async def test_a_short_soak_comes_right(suite: Suite, traveller: Traveller) -> None:
    async with soaking(suite, SHORT_SEED) as (player, troubles):
        await play_all(player, lambda number: Plot.draw(SHORT_SEED, number) if number < SHORT_PAYMENTS else None)
        await _comes_right(suite, traveller, player, troubles)


@pytest.mark.soak
async def test_a_long_soak_comes_right(
    suite: Suite, suite_postgres: RestartablePostgres, traveller: Traveller, say: Say
) -> None:
    async def restart_database() -> None:
        await asyncio.to_thread(suite_postgres.stop)
        await asyncio.to_thread(suite_postgres.start)

    say(f"BATZEN_SOAK_SEED={SEED} BATZEN_SOAK_SECONDS={SECONDS:.0f}\n")
    until = time.monotonic() + SECONDS
    async with soaking(suite, SEED, restart_database=restart_database) as (player, troubles):
        await play_all(player, lambda number: Plot.draw(SEED, number) if time.monotonic() < until else None)
        began = time.monotonic()
        await _comes_right(suite, traveller, player, troubles)
        say(
            f"{len(player.claims)} payments in {troubles.steps} steps, all right {time.monotonic() - began:.1f} s later"
        )
        say(", ".join(f"{count} {what}" for what, count in sorted(player.ended.items())))
        say("\n".join(f"{count:6} {what}" for what, count in sorted(troubles.told.items())) + "\n")


async def _comes_right(suite: Suite, traveller: Traveller, player: Player, troubles: Troubles) -> None:
    """Wait until nothing is left to do, the expiry of what was abandoned included; then look at everything."""
    await troubles.end()
    with contextlib.suppress(TimeoutError):  # what was not settled by then is told below
        async with asyncio.timeout(SETTLED_WITHIN_S + ABANDONED_AFTER_S):
            await player.until_all_is_watched()
    await suite.sandbox.drain()
    await _until_nothing_is_left(traveller)

    assert await problems(suite, player.claims) == []
    for claim in player.claims[:: max(1, len(player.claims) // REPLAYED)]:
        assert await player.replay(claim) == (claim.payment_id, "REQUEST_ID_REUSED")


async def _until_nothing_is_left(traveller: Traveller) -> None:
    left: list[str] = []

    async def is_quiet() -> bool:
        left[:] = await traveller.left_to_do()
        return not left

    try:
        await eventually(is_quiet, within_s=SETTLED_WITHIN_S, what="nothing is left to do")
    except AssertionError as late:
        raise AssertionError(f"{late}, but {left}") from late

"""Payers who come back, and shops that start twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from local.player import Player
from local.scenarios.scenario import ABANDONED_AFTER_S, Scenario
from local.start import Start

AWAY_S: Final = ABANDONED_AFTER_S + 2
"""Longer than a payment lives whose payer did not ask to be waited for."""
KEPT_FOR: Final = timedelta(seconds=60)


async def _came_back(player: Player) -> None:
    await player.preserve(KEPT_FOR)
    await asyncio.sleep(AWAY_S)
    await player.resume()
    await player.submit("visa")
    await player.until("SUCCEEDED")


async def _started_twice(player: Player) -> None:
    await player.start_again()
    await player.submit("visa")
    await player.until("SUCCEEDED")


SCENARIOS: Final = (
    Scenario(
        title="Started twice for one booking",
        amount="105.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        start=Start(booking_id="booking_1"),
        play=_started_twice,
    ),
    Scenario(
        title=f"Away for {AWAY_S} s, and back",
        amount="48.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        play=_came_back,
        is_slow=True,
    ),
)

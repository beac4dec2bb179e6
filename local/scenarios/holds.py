"""Payments that are held first, and captured, released, or left to lapse."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from batzen.cli import money
from batzen.cli.starting import When
from local.player import Player
from local.scenarios.scenario import Scenario
from local.start import Start
from sandbox.control import SandboxControl

HOLD: Final = Start(when=When.HOLD)
BEYOND_ITS_END: Final = timedelta(seconds=1)


async def _captured_in_parts(player: Player) -> None:
    await player.submit("visa")
    await player.until("AUTHORIZED")
    await player.capture(money.parse("120.00 CHF"))
    await player.until("AUTHORIZED")
    await player.capture(money.parse("50.00 CHF"), is_final=True)
    await player.until("SUCCEEDED")


async def _released(player: Player) -> None:
    await player.submit("mastercard")
    await player.until("AUTHORIZED")
    await player.cancel()
    await player.until("CANCELED")


async def _lapsed(player: Player, stand_in: SandboxControl) -> None:
    await player.submit("visa")
    held = await player.until("AUTHORIZED")
    end = held.snapshot.hold_expire_time.ToDatetime().timestamp() - held.record_time.ToDatetime().timestamp()
    lasts = timedelta(seconds=end)
    player.tell(f"nobody captures it: the stand-in's clock is moved by {lasts.total_seconds() / 86_400:.1f} days")
    await stand_in.advance((lasts + BEYOND_ITS_END).total_seconds())
    await player.until("EXPIRED")


SCENARIOS: Final = (
    Scenario(
        title="Held, captured in two parts, the rest given back",
        name="hold",
        amount="200.00 CHF",
        wanted=("AUTHORIZED", "AUTHORIZED", "SUCCEEDED"),
        start=HOLD,
        play=_captured_in_parts,
    ),
    Scenario(
        title="Held, then canceled and given back",
        name="hold-released",
        amount="75.00 CHF",
        wanted=("AUTHORIZED", "CANCELED"),
        start=HOLD,
        play=_released,
    ),
    Scenario(
        title="Held, never captured, lapsed",
        amount="64.00 CHF",
        wanted=("AUTHORIZED", "EXPIRED"),
        start=HOLD,
        play_with=_lapsed,
        moves_clock=True,
    ),
)

"""Methods that are kept, and charged later: by their payer, or at a time that was agreed on, without them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from batzen.cli.authentication import Outcome
from batzen.cli.starting import When
from local.player import Player
from local.scenarios.scenario import Scenario
from local.start import Start
from sandbox.control import SandboxControl

KEEPER: Final = "payer_2"
CHARGE_IN: Final = timedelta(seconds=7)
"""Weeks in earnest. Long enough for the payer to have set their card up, also on a slow machine."""


async def _paid_and_kept(player: Player) -> None:
    await player.submit("visa")
    await player.until("SUCCEEDED")


async def _paid_with_kept(player: Player) -> None:
    await player.submit_kept()
    await player.until("SUCCEEDED")


async def _charged_later(player: Player) -> None:
    await player.submit("3ds-on-setup")
    await player.until("REQUIRES_ACTION")
    await player.authenticate(Outcome.SUCCEED)
    await player.until("SCHEDULED")
    await player.until("SUCCEEDED")


async def _declined_softly(player: Player, stand_in: SandboxControl) -> None:
    await player.submit("visa")
    planned = await player.until("SCHEDULED")
    await stand_in.decline_charges(planned.snapshot.method.payment_method_id, "insufficient_funds")
    await player.until("SCHEDULED", also=lambda update: update.snapshot.HasField("last_error"))
    await player.retry("the shop does not wait for the next day of the plan, and tries again")
    await player.until("SUCCEEDED")


async def _asked_for(player: Player) -> None:
    await player.submit("3ds")
    await player.until("REQUIRES_ACTION")
    await player.authenticate(Outcome.SUCCEED)
    await player.until("SCHEDULED")
    await player.until("REQUIRES_ACTION")
    await player.submit_again()
    await player.authenticate(Outcome.SUCCEED)
    await player.until("SUCCEEDED")


SCENARIOS: Final = (
    Scenario(
        title="Paid, and the card is kept",
        name="card-kept",
        amount="40.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        start=Start(payer_id=KEEPER, keep_method=True),
        play=_paid_and_kept,
    ),
    Scenario(
        title="Paid with the kept card",
        name="kept-card",
        amount="55.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        start=Start(payer_id=KEEPER),
        play=_paid_with_kept,
    ),
    Scenario(
        title="Planned, charged at its time without the payer",
        name="scheduled",
        amount="310.00 CHF",
        wanted=("REQUIRES_ACTION", "SCHEDULED", "SUCCEEDED"),
        start=Start(when=When.SCHEDULED, charge_in=CHARGE_IN, payer_id="payer_3"),
        play=_charged_later,
        needs_stand_in=True,
        is_slow=True,
    ),
    Scenario(
        title="Planned, declined on the day, tried again",
        name="scheduled-declined",
        amount="95.00 CHF",
        wanted=("SCHEDULED", "SCHEDULED", "SUCCEEDED"),
        start=Start(when=When.SCHEDULED, charge_in=CHARGE_IN, payer_id="payer_4"),
        play_with=_declined_softly,
        is_slow=True,
    ),
    Scenario(
        title="Planned, the bank asks for the payer",
        name="scheduled-3ds",
        amount="150.00 CHF",
        wanted=("SCHEDULED", "REQUIRES_ACTION", "SUCCEEDED"),
        start=Start(when=When.SCHEDULED, charge_in=CHARGE_IN, payer_id="payer_5"),
        play=_asked_for,
        needs_stand_in=True,
        is_slow=True,
    ),
)

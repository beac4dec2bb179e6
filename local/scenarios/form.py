"""Payments that are taken at once, in the site's own form."""

from __future__ import annotations

from typing import Final

from batzen.cli import money
from batzen.cli.authentication import Outcome
from local.player import Player
from local.scenarios.scenario import ABANDONED_AFTER_S, Scenario


async def _paid(player: Player) -> None:
    await player.submit("visa")
    await player.until("SUCCEEDED")


async def _declined_then_paid(player: Player) -> None:
    await player.submit("insufficient")
    await player.until("REQUIRES_PAYMENT_METHOD")
    await player.submit("mastercard")
    await player.until("SUCCEEDED")


async def _authenticated(player: Player) -> None:
    await player.submit("3ds")
    await player.until("REQUIRES_ACTION")
    await player.authenticate(Outcome.SUCCEED)
    await player.until("SUCCEEDED")


async def _authentication_failed(player: Player) -> None:
    await player.submit("3ds")
    await player.until("REQUIRES_ACTION")
    await player.authenticate(Outcome.FAIL)
    await player.until("REQUIRES_PAYMENT_METHOD")
    await player.submit("amex")
    await player.until("SUCCEEDED")


async def _refunded(player: Player) -> None:
    await player.submit("visa")
    await player.until("SUCCEEDED")
    await player.refund(money.parse("30.00 EUR"))
    await player.until("PARTIALLY_REFUNDED")
    await player.refund()
    await player.until("REFUNDED")


async def _called_off(player: Player) -> None:
    await player.cancel()
    await player.until("CANCELED")


async def _abandoned(player: Player) -> None:
    await player.until("EXPIRED")


SCENARIOS: Final = (
    Scenario(
        title="Paid", name="paid", amount="120.00 CHF", wanted=("REQUIRES_PAYMENT_METHOD", "SUCCEEDED"), play=_paid
    ),
    Scenario(
        title="Declined, then paid with another card",
        name="declined",
        amount="45.50 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        play=_declined_then_paid,
    ),
    Scenario(
        title="3-D Secure passed",
        name="3ds",
        amount="980.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "REQUIRES_ACTION", "SUCCEEDED"),
        play=_authenticated,
        needs_stand_in=True,
    ),
    Scenario(
        title="3-D Secure failed, then paid with another card",
        name="3ds-failed",
        amount="12500 JPY",
        wanted=("REQUIRES_ACTION", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        play=_authentication_failed,
        needs_stand_in=True,
    ),
    Scenario(
        title="Refunded in part, then in full",
        name="refunded",
        amount="80.00 EUR",
        wanted=("SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED"),
        play=_refunded,
    ),
    Scenario(
        title="Called off",
        name="called-off",
        amount="60.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "CANCELED"),
        play=_called_off,
    ),
    Scenario(
        title=f"Abandoned, expired after {ABANDONED_AFTER_S} s",
        amount="33.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "EXPIRED"),
        play=_abandoned,
        is_slow=True,
    ),
)

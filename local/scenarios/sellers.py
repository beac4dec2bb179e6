"""Carts of several sellers: one of whom gives back what was paid, and one that a bank contests."""

from __future__ import annotations

from typing import Final

from batzen.cli import money
from batzen.cli.starting import Sale
from local.player import Player
from local.scenarios.scenario import Scenario
from local.start import Start
from sandbox.control import SandboxControl

CART: Final = "cart"
"""The session type of carts: what is lost in a dispute is its sellers' loss, each by its part."""
SELLERS: Final = ("anna", "bruno", "carla")
_SALES: Final = tuple(
    Sale(seller_id, money.parse(amount))
    for seller_id, amount in zip(SELLERS, ("100.00 CHF", "50.00 CHF", "30.00 CHF"), strict=True)
)
_OF_THREE: Final = Start(payer_id="payer_6", cart=_SALES, session_type=CART)


async def _one_refunded(player: Player) -> None:
    await player.submit("visa")
    await player.until("SUCCEEDED")
    await player.until_sellers_have("each seller has its part")
    await player.refund_seller("bruno")
    await player.until("PARTIALLY_REFUNDED")
    await player.until_sellers_have("bruno gave back his part, the others have theirs")


async def _disputed_and_lost(player: Player, stand_in: SandboxControl) -> None:
    await player.submit("mastercard")
    await player.until("SUCCEEDED")
    await player.until_sellers_have("each seller has its part")
    await player.lose_dispute(stand_in)
    await player.until_sellers_have("all sellers gave back their parts, as the policy says")


SCENARIOS: Final = (
    Scenario(
        title="Three sellers, one of them refunded",
        name="sellers",
        amount="180.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "SUCCEEDED", "PARTIALLY_REFUNDED"),
        start=_OF_THREE,
        play=_one_refunded,
        needs_stand_in=True,
    ),
    Scenario(
        title="Three sellers, disputed and lost",
        amount="180.00 CHF",
        wanted=("SUCCEEDED", "DISPUTED", "DISPUTE_LOST"),
        start=_OF_THREE,
        play_with=_disputed_and_lost,
    ),
)

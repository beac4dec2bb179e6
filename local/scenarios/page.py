"""Payments on Stripe's hosted page, and the way there from the form."""

from __future__ import annotations

from typing import Final

from batzen.cli.authentication import Outcome
from batzen.cli.moving import Way
from local.player import Player
from local.scenarios.scenario import Scenario
from local.start import Start
from sandbox.control import SandboxControl

PAGE: Final = Start(on_page=True)


async def _paid(player: Player) -> None:
    await player.pay_page("3ds")
    await player.authenticate(Outcome.SUCCEED)
    await player.until("SUCCEEDED")


async def _expired(player: Player, stand_in: SandboxControl) -> None:
    player.tell("the payer lets the page expire")
    await stand_in.expire_session(player.session_id)
    await player.until("REQUIRES_PAYMENT_METHOD", also=lambda update: update.snapshot.reason == "SESSION_EXPIRED")
    await player.retry("the shop asks for a fresh page")
    await player.pay_page("visa")
    await player.until("SUCCEEDED")


async def _changed_over(player: Player) -> None:
    await player.submit("insufficient")
    await player.until("REQUIRES_PAYMENT_METHOD")
    await player.retry("the shop offers Stripe's page instead of its form", way=Way.CHECKOUT)
    await player.pay_page("amex")
    await player.until("SUCCEEDED")


async def _debited(player: Player, stand_in: SandboxControl) -> None:
    await player.pay_page("sepa")
    await player.until("PROCESSING")
    found = await stand_in.objects("checkout.session", id=player.session_id)
    player.tell("days go by until the bank has answered")
    await stand_in.finish_debit(str(found[0]["payment_intent"]))
    await player.until("SUCCEEDED")


SCENARIOS: Final = (
    Scenario(
        title="Paid on Stripe's page, with 3-D Secure",
        name="page",
        amount="89.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        start=PAGE,
        play=_paid,
        needs_stand_in=True,
    ),
    Scenario(
        title="The page expired, paid on a fresh one",
        name="page-expired",
        amount="72.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        start=PAGE,
        play_with=_expired,
    ),
    Scenario(
        title="Declined in the form, paid on the page",
        name="form-then-page",
        amount="130.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        play=_changed_over,
        needs_stand_in=True,
    ),
    Scenario(
        title="SEPA debit, which takes its days",
        name="sepa",
        amount="240.00 EUR",
        wanted=("PROCESSING", "SUCCEEDED"),
        start=PAGE,
        play_with=_debited,
    ),
)

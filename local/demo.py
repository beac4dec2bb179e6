"""`make demo`: a handful of payments on a suite of its own, each shown as it moves, and a true summary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from batzen.cli import money
from batzen.cli.authentication import Outcome
from batzen.cli.browser import PageNotCompleted
from batzen.cli.output import print_json
from batzen.client import Client
from batzen.errors import BatzenError
from local.command_lines import logs_command
from local.demo_view import WIDTH_MAX, DemoView, Shown, document
from local.environments import Stripe
from local.player import Player, Record, add_seller, playing
from local.ports import free_ports
from local.progress import Progress
from local.suite import Suite, running_suite

ABANDONED_AFTER_S: Final = 5
"""24 hours in earnest. Longer than any payment of the demo takes, also on a slow machine's first run."""
SELLER_ID: Final = "seller_1"

Play = Callable[[Player], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One payment of the demo."""

    title: str
    amount: str
    wanted: tuple[str, ...]
    """States it has to go through, in this order; the last is its end."""
    play: Play
    needs_stand_in: bool = False
    """The page of the payer's bank is completed by us, which only the stand-in's lets one do."""
    is_slow: bool = False
    """Begins before the others and is looked at after them."""


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
    Scenario(title="Paid", amount="120.00 CHF", wanted=("REQUIRES_PAYMENT_METHOD", "SUCCEEDED"), play=_paid),
    Scenario(
        title="Declined, then paid with another card",
        amount="45.50 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        play=_declined_then_paid,
    ),
    Scenario(
        title="3-D Secure passed",
        amount="980.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "REQUIRES_ACTION", "SUCCEEDED"),
        play=_authenticated,
        needs_stand_in=True,
    ),
    Scenario(
        title="3-D Secure failed, then paid with another card",
        amount="12500 JPY",
        wanted=("REQUIRES_ACTION", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"),
        play=_authentication_failed,
        needs_stand_in=True,
    ),
    Scenario(
        title="Refunded in part, then in full",
        amount="80.00 EUR",
        wanted=("SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED"),
        play=_refunded,
    ),
    Scenario(title="Called off", amount="60.00 CHF", wanted=("REQUIRES_PAYMENT_METHOD", "CANCELED"), play=_called_off),
    Scenario(
        title=f"Abandoned, expired after {ABANDONED_AFTER_S} s",
        amount="33.00 CHF",
        wanted=("REQUIRES_PAYMENT_METHOD", "EXPIRED"),
        play=_abandoned,
        is_slow=True,
    ),
)


async def show(directory: Path, *, environ: Mapping[str, str], as_json: bool) -> int:
    """Run the demo, and return 0 if every payment ended as it should, else 1."""
    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_MAX
    stripe = Stripe.from_environ(environ)
    with Progress(console, title="Starting Batzen for a demo") as progress:
        async with running_suite(
            directory,
            ports=free_ports(),
            server_url=environ.get("BATZEN_DATABASE_URL", "").strip() or None,
            prefix="batzen_demo_",
            stripe=stripe,
            extra={"orchestrator": {"BATZEN_ABANDONED_AFTER_S": str(ABANDONED_AFTER_S)}},
            report=progress.report,
        ) as suite:
            ready_s = progress.elapsed_s
            progress.close()
            console.print(Text.assemble(("● ", "green"), f"ready after {ready_s:.1f} s", style="dim"))
            all_shown = await _play_all(suite, DemoView(console))
    DemoView(console).summary(all_shown, note=_note(stripe))
    ok = all(shown.is_as_wanted for shown in all_shown)
    if as_json:
        documents = [document(shown) for shown in all_shown]
        print_json({"ok": ok, "ready_s": round(ready_s, 3), "stand_in": stripe.is_stand_in, "payments": documents})
    else:
        count = sum(shown.is_as_wanted for shown in all_shown)
        said = f"{count} of {len(all_shown)} payments ended as they should."
        console.print(Text(said, style="bold green" if ok else "bold red"))
        if not ok:
            console.print(f"What the services said: {logs_command(suite.logs)}", soft_wrap=True)
    return 0 if ok else 1


async def _play_all(suite: Suite, view: DemoView) -> list[Shown]:
    """Play the scenarios one after another, so that each can be read; the slow ones run beside the others."""
    playable = [scenario for scenario in SCENARIOS if suite.stripe.is_stand_in or not scenario.needs_stand_in]
    all_shown = [
        Shown(
            number=number,
            title=scenario.title,
            wanted=scenario.wanted,
            record=Record(total=money.parse(scenario.amount)),
        )
        for number, scenario in enumerate(playable, start=1)
    ]
    async with suite.client("service", sub="shop") as batzen, AsyncExitStack() as stack:
        await add_seller(batzen, SELLER_ID)
        group = await stack.enter_async_context(asyncio.TaskGroup())

        def play(scenario: Scenario, shown: Shown) -> asyncio.Task[None]:
            return group.create_task(_play(suite, batzen, scenario, shown, changed=lambda: view.changed(shown)))

        pairs = list(zip(playable, all_shown, strict=True))
        begun = {shown.number: play(scenario, shown) for scenario, shown in pairs if scenario.is_slow}
        for scenario, shown in sorted(pairs, key=lambda pair: pair[0].is_slow):
            view.begin(shown)
            await (begun.get(shown.number) or play(scenario, shown))
            view.end(shown)
    return all_shown


async def _play(suite: Suite, batzen: Client, scenario: Scenario, shown: Shown, *, changed: Callable[[], None]) -> None:
    """Play one scenario; what goes wrong is kept with it, and the others go on."""
    try:
        async with playing(
            batzen,
            shown.record,
            seller_id=SELLER_ID,
            stripe_seconds=suite.stripe_seconds,
            changed=changed,
        ) as player:
            await scenario.play(player)
    except BatzenError as error:
        shown.failure = f"{error} (correlation id {error.correlation_id})" if error.correlation_id else str(error)
    except PageNotCompleted as error:
        shown.failure = str(error)
    except TimeoutError:
        shown.failure = f"stayed in {shown.record.states[-1] if shown.record.states else 'nothing'} for too long"


def _note(stripe: Stripe) -> str:
    if not stripe.is_stand_in:
        return "us: what callers waited for answers, Stripe's share included, which cannot be told from here."
    return (
        "“us” and “Stripe” are what callers waited for the answers to their calls (start, submit, refund, …), without "
        "the payer's own time; Stripe is the part spent inside the stand-in, by its own clock, us is all the rest, the "
        "way to it included."
    )

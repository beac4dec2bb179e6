"""`make demo`: a payment of each kind on a suite of its own, shown as it moves, and a true summary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from batzen.cli import money
from batzen.cli.browser import PageNotCompleted
from batzen.cli.output import print_json
from batzen.client import Client
from batzen.errors import BatzenError
from local.command_lines import logs_command
from local.demo_view import WIDTH_MAX, DemoView, Shown, document
from local.environments import Stripe
from local.player import add_seller, playing
from local.ports import free_ports
from local.progress import Progress
from local.record import Record
from local.scenarios import SCENARIOS, Scenario
from local.scenarios.scenario import ABANDONED_AFTER_S
from local.suite import Suite, running_suite

SELLER_ID: Final = "seller_1"


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
    """Play the scenarios one after another, so that each can be read.

    The slow ones run beside the others; what moves the stand-in's clock comes last, when no other payment goes by it.
    """
    playable = sorted(
        (scenario for scenario in SCENARIOS if suite.stripe.is_stand_in or not scenario.is_of_stand_in),
        key=lambda scenario: (scenario.moves_clock, scenario.is_slow),
    )
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
        for scenario, shown in pairs:
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
            start=scenario.start,
            seller_id=SELLER_ID,
            stripe_seconds=suite.stripe_seconds,
            changed=changed,
        ) as player:
            await scenario.played(player, suite.sandbox if suite.stripe.is_stand_in else None)
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

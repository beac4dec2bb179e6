"""`make demo`: a payment of each kind on a suite of its own, shown as it moves, a true summary, and the books."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from batzen.cli import money
from batzen.cli.output import print_json
from batzen.client import Client, new_request_id
from batzen.orchestrator.v1.notifications_pb2 import NotificationPolicy, PutNotificationPolicyRequest
from batzen.orchestrator.v1.ops_pb2 import MoneyPolicy, PutPolicyRequest
from local.books import ACTOR_ID, Books, closed
from local.books_view import books_document, show_books
from local.command_lines import logs_command
from local.demo_view import WIDTH_MAX, DemoView, Shown, document
from local.environments import Stripe
from local.mail_sink import MAIL_FROM, mail_sink
from local.play_one import play_one
from local.ports import free_ports
from local.progress import Progress
from local.record import Record
from local.scenarios import SCENARIOS, Scenario
from local.scenarios.scenario import ABANDONED_AFTER_S
from local.scenarios.sellers import CART, SELLERS
from local.start import add_seller
from local.stripe_key import tried
from local.suite import Suite, running_suite
from local.told import Receiver, Told, receiver, show_told, told, told_document

SELLER_ID: Final = "seller_1"
PAGES: Final = (
    "To see what a person sees, run `make up`: its shop leads to the checkout page, its console to the operators'."
)


async def show(directory: Path, *, environ: Mapping[str, str], as_json: bool) -> int:
    """Run the demo, and return 0 if every payment ended as it should and the books are right, else 1."""
    began = datetime.now(UTC)
    console = Console(stderr=as_json, highlight=False)
    if not console.is_terminal and "COLUMNS" not in environ:
        console.width = WIDTH_MAX
    stripe = Stripe.from_environ(environ)
    await tried(stripe)
    with Progress(console, title="Starting Batzen for a demo") as progress:
        async with (
            mail_sink() as mails,
            receiver() as system,
            running_suite(
                directory,
                ports=free_ports(),
                server_url=environ.get("BATZEN_DATABASE_URL", "").strip() or None,
                prefix="batzen_demo_",
                stripe=stripe,
                extra={
                    "orchestrator": {
                        "BATZEN_ABANDONED_AFTER_S": str(ABANDONED_AFTER_S),
                        "BATZEN_SMTP_URL": mails.smtp_url,
                        "BATZEN_MAIL_FROM": MAIL_FROM,
                    }
                },
                report=progress.report,
            ) as suite,
        ):
            ready_s = progress.elapsed_s
            progress.close()
            console.print(Text.assemble(("● ", "green"), f"ready after {ready_s:.1f} s", style="dim"))
            async with suite.client("operator", sub=ACTOR_ID) as operator:
                await _decide(operator, system)
                all_shown = await _play_all(suite, DemoView(console))
                books = await _books(suite, operator, all_shown, since=began)
                heard = await told(operator, mails, system, [shown.record for shown in all_shown])
    DemoView(console).summary(all_shown, note=_note(stripe))
    show_told(console, heard)
    if books is not None:
        show_books(console, books)
    ok = all(shown.is_as_wanted for shown in all_shown) and not heard.problems and not (books and books.problems)
    if as_json:
        documents = [document(shown) for shown in all_shown]
        about = {"ok": ok, "ready_s": round(ready_s, 3), "stand_in": stripe.is_stand_in}
        ends = {"told": told_document(heard), "books": books_document(books) if books else None}
        print_json({**about, "payments": documents, **ends})
    else:
        count = sum(shown.is_as_wanted for shown in all_shown)
        said = f"{count} of {len(all_shown)} payments ended as they should" + _of_told(heard) + _of_books(books)
        console.print()
        console.print(Text(said, style="bold green" if ok else "bold red"))
        console.print(PAGES, style="dim", soft_wrap=True)
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
        for seller_id in (SELLER_ID, *(SELLERS if suite.stripe.is_stand_in else ())):
            await add_seller(batzen, seller_id)
        group = await stack.enter_async_context(asyncio.TaskGroup())

        def play(scenario: Scenario, shown: Shown) -> asyncio.Task[None]:
            stand_in = suite.sandbox if suite.stripe.is_stand_in else None
            return group.create_task(
                play_one(
                    batzen,
                    scenario,
                    shown,
                    seller_id=SELLER_ID,
                    stand_in=stand_in,
                    stripe_seconds=suite.stripe_seconds,
                    changed=lambda: view.changed(shown),
                )
            )

        pairs = list(zip(playable, all_shown, strict=True))
        begun = {shown.number: play(scenario, shown) for scenario, shown in pairs if scenario.is_slow}
        for scenario, shown in pairs:
            view.begin(shown)
            await (begun.get(shown.number) or play(scenario, shown))
            view.end(shown)
    return all_shown


async def _decide(operator: Client, system: Receiver) -> None:
    """Let the sellers of a cart bear what a dispute takes for good, the operators get mails, a system get webhooks."""
    because = {"request_id": new_request_id(), "actor_id": ACTOR_ID, "reason": "the demo shows what that does"}
    terms = MoneyPolicy(dispute_recovery=MoneyPolicy.DISPUTE_RECOVERY_AT_LOSS)
    await operator.orchestrator_ops.PutPolicy(PutPolicyRequest(session_type=CART, policy=terms, **because))
    told_by = NotificationPolicy(operator_addresses=["ops@example.com"], sender_name="Demo")
    await operator.orchestrator_ops.PutNotificationPolicy(PutNotificationPolicyRequest(policy=told_by, **because))
    await system.subscribe(operator)


async def _books(suite: Suite, operator: Client, all_shown: list[Shown], *, since: datetime) -> Books | None:
    """Return the books at the end; None of an account that others use, too."""
    if not suite.stripe.is_stand_in:
        return None
    return await closed(operator, suite.sandbox, [shown.record for shown in all_shown], since=since)


def _of_told(heard: Told) -> str:
    return ", not all were told" if heard.problems else ", everyone was told"


def _of_books(books: Books | None) -> str:
    if books is None:
        return "."
    return ", and the books are not right." if books.problems else ", every seller has its part, and the books balance."


def _note(stripe: Stripe) -> str:
    if not stripe.is_stand_in:
        return "us: what callers waited for answers, Stripe's share included, which cannot be told from here."
    return (
        "“us” and “Stripe” are what callers waited for the answers to their calls (start, submit, refund, …), without "
        "the payer's own time; Stripe is the part spent inside the stand-in, by its own clock, us is all the rest, the "
        "way to it included."
    )

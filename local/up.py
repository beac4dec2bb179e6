"""`make up`: the suite on its fixed ports, staying up; says where everything is, and lets the command line find it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import make_url

from local.booking_check import CLOSED, booking_check
from local.command_lines import command_line, short
from local.connection_file import EXPORTED_LIFE, SUBJECTS, written
from local.environments import FRONTS, SERVICES, Stripe
from local.mail_sink import MAIL_FROM, MailSink, mail_sink
from local.ports import HOST, fixed_ports
from local.processes import ProcessFailed
from local.progress import Progress
from local.shop_page import ShopPage, shop_page
from local.stand_in import StandIn, stand_in_of
from local.start import add_seller, put_issuer
from local.storage import identity
from local.stripe_key import tried
from local.suite import SANDBOX, Suite, running_suite

WATCHED_BY: Final = ("BATZEN_OTLP_ENDPOINT", "BATZEN_TRACE_RATIO", "BATZEN_ERROR_TRACKING_DSN")
"""Settings of the services that `make up` takes from its own environment."""
TRY: Final = (
    'pay --amount "100.00 CHF"',
    'pay --amount "80 CHF" --card 3ds --3ds succeed',
    'pay --amount "25 EUR" --email anna@example.com',
    "list",
    "listen",
    "trigger",
    "ledger balances",
)
STRIPE: Final = "https://api.stripe.com"
TRY_AT_STRIPE: Final = (
    "stripe check",
    "sellers put seller_1 --email seller@example.com",
    "sellers link seller_1 --return https://www.example.com/ --refresh https://www.example.com/",
    'pay --seller seller_1 --amount "100.00 CHF"',
    'pay --seller seller_1 --amount "80.00 CHF" --card 3ds',
    "list",
)
"""A seller is paid once the page of its link is filled in; 3-D Secure is passed on the page that is printed."""
DELIVERY_ATTEMPTS_MAX: Final = 30
"""Of the stand-in, of each event: a quarter of an hour, in which a gateway that is restarted is back."""
WIDE_MIN: Final = 100
"""Columns in which all remarks fit."""
RESTARTS_MAX: Final = 5
"""In one run, for each process: enough for somebody who tries what a crash does, and an end for one that cannot run."""


async def stay_up(
    directory: Path,
    *,
    environ: Mapping[str, str],
    chosen_ports: Mapping[str, int],
    port_base: int | None = None,
    abandoned_after_s: int | None,
    forget: bool = False,
) -> int:
    """Run the suite until it is interrupted; `forget` begins without what was paid at the stand-in.

    Raises what keeps it from running.
    """
    console = Console(highlight=False)
    stripe = Stripe.from_environ(environ)
    server_url = environ.get("BATZEN_DATABASE_URL", "").strip() or None
    stand_in = None
    if stripe.is_stand_in:
        known = await identity(directory, server_url=server_url)
        stand_in = stand_in_of(directory, server_url=server_url, identity=known, forget=forget)
    await tried(stripe)
    with Progress(console, title="Starting Batzen") as progress:
        async with (
            booking_check() as platform,
            mail_sink() as mails,
            shop_page() as shop,
            running_suite(
                directory,
                ports=fixed_ports(environ, chosen_ports, port_base),
                fronts=FRONTS,
                server_url=server_url,
                # What was paid at the stand-in is never mixed with what was paid at Stripe, nor with production.
                prefix="batzen_sandbox_" if stand_in else "batzen_test_",
                stripe=stand_in.stripe if stand_in else stripe,
                fresh=stand_in is not None and not stand_in.is_kept,
                begin=stand_in.begin if stand_in else _nothing,
                extra=_of_shop(
                    passed_on(
                        environ,
                        booking_check_address=platform,
                        smtp_url=mails.smtp_url,
                        abandoned_after_s=abandoned_after_s,
                    ),
                    shop.tenants_file(directory),
                )
                | _kept(stand_in),
                report=progress.report,
            ) as suite,
        ):
            if stand_in:
                stand_in.confirm(await identity(directory, server_url=server_url))
                async with suite.client("service", sub=SUBJECTS["service"]) as batzen:
                    await add_seller(batzen, SUBJECTS["seller"])
                async with suite.client("operator", sub=SUBJECTS["operator"]) as operator:
                    await put_issuer(operator, payment_url=f"{suite.front_url('bff')}/pay/{{payment_id}}")
                shop.suite = suite
            async with written(
                suite.directory,
                addresses=suite.addresses,
                issuer=suite.issuer,
                logs=suite.logs,
                stand_in_url=suite.sandbox_url if stripe.is_stand_in else None,
            ) as file:
                ready_s = progress.elapsed_s
                progress.close()
                if stand_in and stand_in.why_anew:
                    console.print(f"The stand-in begins anew, {stand_in.why_anew}.", style="yellow", soft_wrap=True)
                _tell(
                    console,
                    suite,
                    stand_in=stand_in,
                    platform=platform,
                    mails=mails,
                    shop=shop,
                    file=file,
                    ready_s=ready_s,
                )
                try:
                    await _keep_up(suite, console)
                finally:
                    console.print("\nStopping …", style="dim")
    return 0


def passed_on(
    environ: Mapping[str, str], *, booking_check_address: str, smtp_url: str, abandoned_after_s: int | None
) -> dict[str, dict[str, str]]:
    """Return what the services are told beside what they need: who watches them, how long they wait, whom they ask, and
    who takes their mails.
    """
    watched = {name: environ[name] for name in WATCHED_BY if environ.get(name, "").strip()}
    extra = {service: dict(watched) for service in (*SERVICES, *FRONTS)}
    extra["orchestrator"] |= {
        "BATZEN_BOOKING_CHECK_ADDRESS": booking_check_address,
        "BATZEN_SMTP_URL": smtp_url,
        "BATZEN_MAIL_FROM": MAIL_FROM,
    }
    if abandoned_after_s:
        extra["orchestrator"]["BATZEN_ABANDONED_AFTER_S"] = str(abandoned_after_s)
    return extra


def _of_shop(extra: dict[str, dict[str, str]], tenants: Path) -> dict[str, dict[str, str]]:
    """Let payers come from the shop, and go back to it."""
    extra["bff"] |= {"BATZEN_TENANTS_FILE": str(tenants)}
    return extra


def _kept(stand_in: StandIn | None) -> dict[str, dict[str, str]]:
    """Let the stand-in keep its state, and post its events until somebody takes them, as Stripe does."""
    if stand_in is None:
        return {}
    patient = {"BATZEN_SANDBOX_DELIVERY_ATTEMPTS": str(DELIVERY_ATTEMPTS_MAX)}
    return {SANDBOX: {"BATZEN_SANDBOX_STATE": str(stand_in.state_file), **patient}}


def _nothing() -> None: ...


async def _keep_up(suite: Suite, console: Console) -> None:
    """Start again what ends by itself, as an orchestrator would; raise `ProcessFailed` if it does so too often."""

    async def keep(process: str) -> None:
        for _ in range(RESTARTS_MAX):
            code = await suite.ended(process)
            console.print(f"{process} ended ({code}); starting it again.", style="yellow")
            await suite.start(process)
            console.print(f"{process} is back.", style="yellow")
        raise ProcessFailed(f"{process} ended more than {RESTARTS_MAX} times; see {suite.logs / process}.log")

    tasks = [asyncio.ensure_future(keep(process)) for process in suite.processes]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _ports(suite: Suite, service: str) -> str:
    return f"health {suite.ports[f'{service}-health']}, metrics {suite.ports[f'{service}-metrics']}"


def _table(rows: Sequence[tuple[str, str, str]], *, is_narrow: bool) -> Table:
    """Return what is where, with what there is to say of it; where that does not fit, with its first words."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", min_width=14)
    table.add_column(overflow="fold", no_wrap=True)  # to be copied whole
    table.add_column(style="dim", ratio=1)
    for name, address, remark in rows:
        table.add_row(f"  {name}", address, re.split("[:;,]", remark)[0] if is_narrow else remark)
    return table


def _tell(
    console: Console,
    suite: Suite,
    *,
    stand_in: StandIn | None,
    platform: str,
    mails: MailSink,
    shop: ShopPage,
    file: Path,
    ready_s: float,
) -> None:
    console.print(
        Text.assemble(
            ("● ", "green"), ("Batzen is up", "bold"), (f"   ready after {ready_s:.1f} s, gRPC with reflection", "dim")
        )
    )
    rows: list[tuple[str, str, str]] = []
    for service in reversed(SERVICES):
        rows.append((service, f"{HOST}:{suite.ports[service]}", _ports(suite, service)))
    if shop.suite is not None:
        rows.append(("shop", shop.url, "the way in for payers: buy something, and pay for it on the checkout page"))
    rows.append(("checkout", suite.front_url("bff"), "for payers, and REST for the platform"))
    rows.append(("console", suite.front_url("console"), "for operators; its log-in asks who you are, and no more"))
    rows.append(("webhooks", suite.webhook_url, "for Stripe's events"))
    if stand_in:
        known = ", and knows what was paid before" if stand_in.is_kept else ""
        rows.append(("stand-in", suite.sandbox_url, f"for Stripe, unless STRIPE_API_KEY=sk_test_…{known}"))
    else:
        polled = suite.stripe.polled_every_s
        events = f"its events are read every {polled} s" if polled else "its events are sent to the address above"
        rows.append(("Stripe", suite.stripe.api_base or STRIPE, f"test mode; {events}"))
    rows.append(("platform", platform, f"stands for yours: a booking that begins with {CLOSED} cannot be paid for"))
    rows.append(("mails", mails.page_url, "shows every mail; none leaves this machine"))
    database = make_url(suite.database_url("status"))
    rows.append(("databases", f"{database.host}:{database.port}", f"PostgreSQL: {database.database}, …"))
    rows.append(("logs", short(suite.logs), "JSON, one file a process"))
    rows.append(("tokens", short(file), f"kept fresh, of {', '.join(SUBJECTS)}"))
    console.print(_table(rows, is_narrow=console.width < WIDE_MIN))
    command = command_line()
    console.print("\nTry, in another terminal:", style="bold")
    for arguments in TRY if suite.stripe.is_stand_in else TRY_AT_STRIPE:
        console.print(f"  {command} {arguments}", soft_wrap=True)
    hours = EXPORTED_LIFE // timedelta(hours=1)
    console.print(f"For a program of yours, a token that is good for {hours} hours:", style="bold")
    console.print(f"  export BATZEN_TOKEN=$({command} --as service token)", soft_wrap=True)
    console.print("\nCtrl-C stops everything.", style="dim")

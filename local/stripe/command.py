"""`batzen stripe`: what there is to say of the account at Stripe."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated, Final

import typer

from batzen.cli.command_classes import Commands

CHECK_EPILOG: Final = """Examples:

STRIPE_API_KEY=sk_test_… batzen stripe check

batzen stripe check --json

It reads the settings that `make up` reads, and changes nothing at Stripe. Exit code 0 if nothing is missing, else 1.
docs/stripe-test-mode.md goes through the same in the same order."""

app = Commands(help="The account at Stripe.")


@app.callback()
def _group() -> None:
    """The account at Stripe."""


@app.command(epilog=CHECK_EPILOG)
def check(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """Walk through what Stripe's test mode needs, and say what is missing."""
    import asyncio  # noqa: PLC0415 help needs no loop, and starts faster

    from rich.text import Text  # noqa: PLC0415

    from batzen.cli.output import Exit, console, print_json  # noqa: PLC0415
    from batzen.cli.program import program  # noqa: PLC0415
    from local.stripe.findings import State  # noqa: PLC0415
    from local.stripe.walk import walk  # noqa: PLC0415

    found = asyncio.run(walk(os.environ))
    missing = [one for one in found if one.state is State.MISSING]
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        marks = {State.FINE: ("✓", "green"), State.MISSING: ("✗", "red"), State.NOTE: ("○", "yellow")}
        for one in found:
            mark, style = marks[one.state]
            console.print(Text.assemble((f"{mark} ", style), (one.about, "bold"), f" {one.what}"), soft_wrap=True)
            if one.do:
                do = one.do.replace("`batzen ", f"`{program()} ")
                console.print(Text(f"    → {do}", style="dim"), soft_wrap=True)
        said = f"{len(missing)} things are missing." if len(missing) > 1 else "One thing is missing."
        console.print(Text(said if missing else "Nothing is missing.", style="bold red" if missing else "bold green"))
    raise typer.Exit(int(Exit.NOT_AS_WANTED if missing else Exit.OK))

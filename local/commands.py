"""`batzen up` and `batzen demo`: what the command line can do in a checkout, and only there."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from local.ports import FIXED

if TYPE_CHECKING:
    from batzen.cli.connection import Connection
    from batzen.cli.output import Exit
    from batzen.client import Client

STATE: Final = Path(__file__).parents[1] / ".batzen"
EXIT_FAILED: Final = 1

UP_EPILOG: Final = f"""Examples:

batzen up

batzen up --port-base 8000                    (all ports 1000 higher)

batzen up --port orchestrator=7101 --port sandbox=7211

batzen up --forget

Ports: {", ".join(f"{name} {port}" for name, port in FIXED.items())}; each can also be set by BATZEN_<NAME>_PORT,
all together by BATZEN_PORT_BASE.

BATZEN_DATABASE_URL names a PostgreSQL server to use instead of the embedded one. STRIPE_API_KEY=sk_test_… uses Stripe's
test mode instead of the stand-in. What was paid at the stand-in is there again in the next run; --forget (or
BATZEN_FORGET=1) begins without it."""
DOWN_EPILOG: Final = """Examples:

batzen down

batzen down --purge

BATZEN_DATABASE_URL has to name the server where they are, for databases and roles on one of your own. Payments at
Stripe's test mode stay there. What was installed stays, too: `make clean` removes both.

Exit code 1 if something could not be ended or removed; then it is said what, and what to do."""
DEMO_EPILOG: Final = """Examples:

batzen demo

batzen demo --json | python -m json.tool

Exit code 0 if every payment ended as it should, the ledger balances, and Stripe and it say the same."""

TRIGGER_EPILOG: Final = """Examples:

batzen trigger                                (what there is)

batzen trigger 3ds

batzen trigger dispute --payment pay_…        (then: batzen show pay_…)

batzen trigger refunded --json

Journeys are those of the demo. Beside `batzen listen` one sees which events each makes. It is for the suite that
`make up` started in this checkout, and for no other. Exit code 0 if it went so."""

error_console: Final = Console(stderr=True, highlight=False)


def up(
    *,
    port: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PORT", help="Another port; may be repeated.", show_default=False)
    ] = None,
    port_base: Annotated[
        int | None,
        typer.Option(
            metavar="PORT", min=1, show_default=False, help="Move all ports: 8000 makes 7001 to 8001. Default: 7000."
        ),
    ] = None,
    abandoned_after_s: Annotated[
        int | None,
        typer.Option(
            "--abandoned-after",
            metavar="SECONDS",
            min=1,
            show_default=False,
            envvar="BATZEN_ABANDONED_AFTER_S",
            help="When an unpaid payment expires. Default: 24 hours.",
        ),
    ] = None,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            envvar="BATZEN_FORGET",
            show_default=False,
            help="Begin without the payments of the runs before.",
        ),
    ] = False,
) -> None:
    """Start the whole suite on this machine and keep it up until Ctrl-C."""
    chosen = dict(_chosen_port(text) for text in port or [])

    def stay() -> Coroutine[Any, Any, int]:
        from local.up import stay_up  # noqa: PLC0415 what a mistyped option is told of, nothing else has to start for

        return stay_up(
            STATE,
            environ=os.environ,
            chosen_ports=chosen,
            port_base=port_base,
            abandoned_after_s=abandoned_after_s,
            forget=forget,
        )

    _run(stay, is_endless=True)


def down(
    *,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge",
            show_default=False,
            help="Remove all that it and the demo made: databases and roles, payments, keys, logs, temporary folders.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """End what `up` started, from another terminal."""
    from local.down import end  # noqa: PLC0415 as above

    raise typer.Exit(end(STATE, environ=os.environ, purge=purge, as_json=as_json))


def demo(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """Take a payment of each kind on a suite of its own, show how it moves, and close the books."""

    def play() -> Coroutine[Any, Any, int]:
        from local.demo import show  # noqa: PLC0415 as above

        return show(STATE / "demo", environ=os.environ, as_json=as_json)

    _run(play)


def trigger(
    context: typer.Context,
    *,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A journey or an event; none lists them.", show_default=False)
    ] = "",
    payment: Annotated[
        str, typer.Option(metavar="PAYMENT_ID", show_default=False, help="To which payment an event happens.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
    ] = False,
) -> None:
    """Play a journey on the suite that is up, or let something happen to a payment at Stripe."""
    from batzen.cli.output import call, refuse  # noqa: PLC0415 help needs none of these
    from local import trigger as playing  # noqa: PLC0415

    if not name:
        raise typer.Exit(int(playing.show_all(as_json=as_json)))
    if name not in (*playing.JOURNEYS, *playing.EVENTS):
        refuse(f"There is no {name!r}; there are {', '.join((*playing.JOURNEYS, *playing.EVENTS))}.")
    if (name in playing.EVENTS) is not bool(payment):
        refuse("Name the --payment of an event; a journey makes a payment of its own.")

    async def work(client: Client, connection: Connection) -> Exit:
        return await playing.trigger(client, connection, name, state=STATE, payment_id=payment, as_json=as_json)

    call(context, work, as_json=as_json)


def _chosen_port(text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not equals or not (number.isascii() and number.isdigit()):
        raise typer.BadParameter(f"{text!r} is not NAME=PORT, such as gateway=7104.", param_hint="--port")
    return name, int(number)


def _run(begin: Callable[[], Coroutine[Any, Any, int]], *, is_endless: bool = False) -> None:
    from batzen.cli.refusing import tell  # noqa: PLC0415 help needs none of these
    from batzen.errors import BatzenError  # noqa: PLC0415
    from local import interrupt  # noqa: PLC0415
    from local.environments import StripeKeyRefused  # noqa: PLC0415
    from local.ports import PortError  # noqa: PLC0415
    from local.postgres import PostgresError  # noqa: PLC0415
    from local.processes import ProcessFailed  # noqa: PLC0415
    from local.suite import SuiteBusy  # noqa: PLC0415

    try:
        code = interrupt.run(begin(), is_endless=is_endless)
    except (PortError, PostgresError, ProcessFailed, StripeKeyRefused, SuiteBusy) as error:
        first, _, rest = str(error).partition("\n")
        error_console.print(Text(f"✗ {first}", style="bold red"))
        if rest:
            error_console.print(Text(rest), soft_wrap=True)
        code = EXIT_FAILED
    except BatzenError as error:
        tell(error, as_json=False)
        code = EXIT_FAILED
    raise typer.Exit(code)

"""Runs benches: all of them, or those that are named; to the terminal, a JSON file, docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bench.figures import Result, blocks, into_markdown, summarised
from bench.machine import Machine
from local.environments import SERVICES

BENCHES: Final = {
    "cost": "what a payment costs before and after a change, beside a shop without guarantees",
    "tracing": "what traces cost a payment, off, at 10 % and of every call",
    "metrics": "what metrics cost a payment, and what a scrape takes",
    "payments": "a payment from its start to its success, through the whole suite",
    "floods": "a well-behaved caller while somebody floods the server",
    "waiting": "StartPayment while others wait, or ask again and again",
    "pricing": "a quote of 1 to 1,000 lines",
    "reconcile": "a reconciliation of 3,000 payments (--payments), beside listing the same pages alone",
    "fanout": "from the feed to light clients, beside socket servers",
    "browsers": "5,000 browsers that follow payments by one process, beside bare ASGI and Node",
    "polls": "browsers that poll a payment with its ETag, beside bare ASGI and Node",
    "record": "RecordTransition over the wire",
    "storage": "recording transitions, storage alone",
    "ledger": "posting to the ledger from 32 connections, beside a bare insert",
    "webhooks": "Stripe's events from their arrival to the orchestrator, beside a bare insert",
    "webhooks_out": "webhooks to a good receiver while others fail in every way, beside the same in peace",
    "path": "from a call to its watchers, here and at another replica",
    "storm": "all watches come back at once",
    "stored": "calls with 10,000 and with a million payments stored",
}
"""Each is a module of this package with `async def measure(say) -> Result`, on the event loop of its `loop_factory`."""
STATUS: Final = ("fanout", "record", "path", "storage", "storm", "stored")
"""Those that make up what docs/benchmarks.md says of status, once all of them were run together."""
OPTIONS: Final = {
    "fanout": ("full",),
    "cost": ("before", "profile"),
    "reconcile": ("payments",),
    "webhooks": ("events",),
}
"""What of the command line is given to `measure`, if it was said there."""
PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help="; ".join(f"{k}: {v}" for k, v in BENCHES.items()))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there, too")
    parser.add_argument(
        "--write",
        action="store_true",
        help="print the figures as Markdown, and put them where docs/benchmarks.md marks a place",
    )
    parser.add_argument(
        "--full", action="store_true", default=None, help="fanout: take all rounds of what is shortened otherwise"
    )
    parser.add_argument("--before", metavar="REVISION", help="cost: what this checkout is compared with")
    parser.add_argument("--profile", choices=SERVICES, help="cost: show where the time of a service goes instead")
    parser.add_argument("--payments", type=int, metavar="N", help="reconcile: so many payments, such as 100000")
    parser.add_argument("--events", type=int, metavar="N", help="webhooks: in bursts, 10,000 where not said")
    given = parser.parse_args(arguments)
    names = given.benches or list(BENCHES)
    if unknown := set(names) - set(BENCHES):
        parser.error(f"there is no bench named {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    console = Console(highlight=False)
    machine = Machine.look()
    console.print(f"[dim]{machine}[/]")
    results: dict[str, Result] = {}
    for name in names:
        said = {option: getattr(given, option) for option in OPTIONS.get(name, ())}
        results[name] = _measured(name, console, {option: one for option, one in said.items() if one is not None})
        results[name].show(console)
    if given.json:
        figures = {"machine": machine.to_json()} | {name: result.to_json() for name, result in results.items()}
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if given.write:
        _write(results, machine)


def _measured(name: str, console: Console, options: Mapping[str, Any]) -> Result:
    # Programs are started while gRPC runs; what it says about its own forks is not for us.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    bench = importlib.import_module(f"bench.{name}")
    loop_factory = getattr(bench, "loop_factory", None)
    with (
        console.status(f"{name}: starting …") as status,
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        measuring = bench.measure(lambda what: status.update(f"{name}: {what} …"), **options)
        result: Result = runner.run(measuring)
        return result


def _write(results: dict[str, Result], machine: Machine) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, result in results.items():
        markdown = into_markdown(result, machine)
        print(markdown)
        page = blocks(page, name, markdown)
    if set(STATUS) <= set(results):
        summary = Result(title="Status", tables=[summarised(results[name] for name in STATUS)])
        page = blocks(page, "status", into_markdown(summary, machine))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

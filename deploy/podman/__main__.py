"""`make up-images`: the images on this machine as the local overlay runs them, until Ctrl-C.

`python -m deploy.podman logs --follow status-server` and the like, meanwhile, are commands of podman to these pods.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from deploy.images.tools import Store, ToolFailed, ToolMissing, require
from deploy.podman.pods import Pods, running_pods
from deploy.podman.transform import HOST
from local import interrupt
from local.command_lines import command_line, short
from local.connection_file import written
from local.environments import SERVICES
from local.ports import PortError, fixed_ports
from local.processes import ROOT
from local.progress import Progress
from local.running import SuiteBusy

STATE: Final = ROOT / ".batzen"


async def stay_up(store: Store) -> int:
    """Run the pods until interrupted. Raises what keeps them from running."""
    console = Console(highlight=False)
    with Progress(console, title="Starting the images") as progress:
        async with (
            running_pods(
                store.home / "pods", ports=fixed_ports(os.environ, {}), store=store, report=progress.report
            ) as pods,
            written(
                STATE,
                addresses=pods.addresses,
                issuer=pods.issuer,
                logs=pods.logs,
                stand_in_url=f"http://{HOST}:{pods.ports['sandbox']}",
            ) as file,
        ):
            ready_s = progress.elapsed_s
            progress.close()
            _tell(console, pods, file=file, ready_s=ready_s)
            try:
                await asyncio.Event().wait()
            finally:
                console.print("\nStopping …", style="dim")
    return 0


def _tell(console: Console, pods: Pods, *, file: Path, ready_s: float) -> None:
    console.print(f"[green]●[/] [bold]The images are up[/]   [dim]ready after {ready_s:.1f} s[/]")
    for service in reversed(SERVICES):
        health, metrics = (pods.ports[f"{service}-{kind}"] for kind in ("health", "metrics"))
        console.print(
            f"  [cyan]{service:13}[/] {HOST}:{pods.ports[service]}   [dim]health {health}, metrics {metrics}[/]"
        )
    for front, whose in (("bff", "pages and REST of payers"), ("console", "pages of operators")):
        console.print(f"  [cyan]{front:13}[/] http://{HOST}:{pods.ports[front]}   [dim]{whose}[/]")
    console.print(
        f"  [cyan]{'log-in':13}[/] http://{HOST}:{pods.ports['login']}   [dim]asks who you are, and for no password[/]"
    )
    console.print(f"  [cyan]{'stand-in':13}[/] {HOST}:{pods.ports['sandbox']}   [dim]for Stripe[/]")
    console.print(f"  [cyan]{'tokens':13}[/] {short(file)}")
    logs = f"{short(Path(sys.executable))} -m deploy.podman logs --follow status-server"
    console.print(f"  [cyan]{'logs':13}[/] {logs}   [dim]podman's other commands likewise[/]", soft_wrap=True)
    console.print("\n[bold]Try, in another terminal:[/]")
    for arguments in ('pay --amount "100.00 CHF"', 'pay --amount "80.00 CHF" --card 3ds --3ds succeed', "list"):
        console.print(f"  {command_line()} {arguments}", soft_wrap=True)
    console.print(
        "\n[dim]Ctrl-C stops everything and takes it away. Tokens between the services are good for 12 hours.[/]"
    )


def main() -> int:
    """Run, 1 with the reason if that cannot be; or do what podman is asked to with our store."""
    try:
        if arguments := sys.argv[1:]:
            require("podman")
            store = Store()
            return subprocess.call(store.podman_command(*arguments), env={**os.environ, **store.environ})
        return interrupt.run(stay_up(Store()), is_endless=True)
    except (ToolMissing, ToolFailed, SuiteBusy, PortError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""`batzen down`: ends a suite that runs, and removes what runs made; says what it did."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from batzen.cli.output import print_json
from local import purge as purging
from local.command_lines import short
from local.purge import NotPurged, Purged, stop


def end(state: Path, *, environ: Mapping[str, str], purge: bool, as_json: bool) -> int:
    """End what runs in `state`, with `purge` remove what runs made, and return the exit code."""
    try:
        purged = asyncio.run(_purged(state, environ)) if purge else _stopped(state)
    except NotPurged as problem:
        if as_json:
            print_json({"ok": False, "problem": str(problem)})
        else:
            Console(stderr=True, highlight=False).print(Text(f"✗ {problem}", style="bold red"), soft_wrap=True)
        return 1
    if as_json:
        print_json({"ok": True, "stopped": purged.stopped, "removed": purged.removed, "left": purged.left})
    else:
        _tell(purged, purge=purge)
    return 0


async def _purged(state: Path, environ: Mapping[str, str]) -> Purged:
    return await purging.purge(state, environ=environ)


def _stopped(state: Path) -> Purged:
    purged = Purged()
    stop(state, purged)
    return purged


def _tell(purged: Purged, *, purge: bool) -> None:
    console = Console(highlight=False)
    for directory in purged.stopped:
        console.print(f"Ended the suite of {short(Path(directory))}.", soft_wrap=True)
    if not purged.stopped and not purge:
        console.print("Nothing runs.")
    for what in purged.removed:
        console.print(f"Removed {short(Path(what)) if what.startswith('/') else what}.", soft_wrap=True)
    for what in purged.left:
        console.print(f"Left {what}.", style="yellow", soft_wrap=True)
    if purge and not purged.removed:
        console.print("There was nothing to remove.")

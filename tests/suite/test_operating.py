"""The commands that docs/operating.md gives to an operator, as they stand there, against the running suite."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.forking import ForkServer
from tests.suite.journeys import Traveller, pay
from tests.test_operating import of

IS_PAUSED: Final = 1
"""What `batzen starts show` ends with while starts are paused."""


async def run(command: str, traveller: Traveller, forks: ForkServer, folder: Path) -> str:
    """Run a command of the book, and return what it prints; AssertionError unless it ends with 0."""
    program, *arguments = shlex.split(command)
    assert program == "batzen"
    suite = traveller.suite
    environment = {f"BATZEN_{name.upper()}_ADDRESS": target for name, target in asdict(suite.addresses).items()}
    environment |= {"BATZEN_TOKEN": suite.token("operator", sub="clerk"), "COLUMNS": "200"}
    with tempfile.NamedTemporaryFile() as output:
        process = await forks.spawn(["tests.local.typed", str(folder), *arguments], environment, output)
        code = await process.wait()
        said = output.read().decode()
    assert code in (0, IS_PAUSED if "show" in arguments else 0), said
    return said


async def test_what_the_book_tells_an_operator_to_type_works(traveller: Traveller, tmp_path: Path) -> None:
    payment_id = await pay(traveller)
    await traveller.until(payment_id, "SUCCEEDED")
    commands = of("tests/suite/test_operating.py")

    async with ForkServer("tests.local.typed", COLUMNS="200") as forks:
        said = {command: await run(command, traveller, forks, tmp_path) for command in commands}

    assert payment_id in said["batzen list"]
    assert "INC-7" in said["batzen starts show"]
    await pay(traveller)  # starts were resumed

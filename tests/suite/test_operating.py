"""The commands that docs/operating.md gives to an operator, as they stand there, against the running suite."""

from __future__ import annotations

import asyncio
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.suite.journeys import Traveller, pay
from tests.test_operating import of

ROOT: Final = Path(__file__).parents[2]
SETTLED_WITHIN_S: Final = 15.0
IS_PAUSED: Final = 1
"""What `batzen starts show` ends with while starts are paused."""


async def run(command: str, traveller: Traveller) -> str:
    """Run a command of the book, and return what it prints; AssertionError unless it ends with 0."""
    program, *arguments = shlex.split(command)
    assert program == "batzen"
    suite = traveller.suite
    environment = {f"BATZEN_{name.upper()}_ADDRESS": target for name, target in asdict(suite.addresses).items()}
    environment |= {"BATZEN_TOKEN": suite.token("operator", sub="clerk"), "COLUMNS": "200"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batzen", *arguments,
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode in (0, IS_PAUSED if "show" in arguments else 0), said.decode()
    return said.decode()


async def test_what_the_book_tells_an_operator_to_type_works(traveller: Traveller) -> None:
    payment_id = await pay(traveller)
    await traveller.until(payment_id, "SUCCEEDED", within_s=SETTLED_WITHIN_S)
    commands = of("tests/suite/test_operating.py")

    said = {command: await run(command, traveller) for command in commands}

    assert payment_id in said["batzen list"]
    assert "INC-7" in said["batzen starts show"]
    await pay(traveller)  # starts were resumed

"""A process killed at any recorded point of a journey leaves nothing undone, nothing done twice, and nothing behind.

Whatever dies, each payer is mailed that their money came.

Two tests share the positions: after a commit and after a call something lasts that did not at the position before; at
the begin of a transaction, before its commit and before a call nothing does, so that these are left to the long run.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from local.storage import Storage
from tests.forking import ForkServer
from tests.quick_postgres import quick_postgres
from tests.suite.crashes import ports_of_each, record, rigged, strike

RIGS = 6
"""Suites side by side: most of a crash is waiting for a lease to end."""
POSITIONS_MIN = 50
"""Fewer would mean that the recording does not see the journeys."""
NOTHING_NEW = (":begin", ":before_commit", ":before")


async def test_killed_wherever_something_new_lasts_each_journey_ends_as_it_should() -> None:
    await strike_all(lambda position: not position.endswith(NOTHING_NEW))


@pytest.mark.soak
async def test_killed_where_nothing_new_lasts_each_journey_ends_as_it_should() -> None:
    await strike_all(lambda position: position.endswith(NOTHING_NEW))


def points_of_submit() -> set[str]:
    """Return the crash points that ARCHITECTURE.md names on the way of SubmitPayment."""
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    return set(re.findall(r"^\| [A-Z] \| [^|]+ \| `([a-z_.]+)` \|", text, re.MULTILINE))


async def strike_all(chosen: Callable[[str], bool]) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-crash-")))
        folder.chmod(0o711)
        server = quick_postgres(folder / "postgres")
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        storages = [
            Storage(admin_url=server.admin_url, passwords=folder / "passwords.json", prefix=f"rig{number}_")
            for number in range(RIGS)
        ]
        forks = await stack.enter_async_context(ForkServer())
        async with asyncio.TaskGroup() as group:
            starting = [
                group.create_task(stack.enter_async_context(rigged(storage, forks, ports=ports)))
                for storage, ports in zip(storages, ports_of_each(RIGS), strict=True)
            ]
        rigs = [rig.result() for rig in starting]
        waiting = [(name, position) for name, position in await record(rigs[0]) if chosen(position)]
        assert len(waiting) >= POSITIONS_MIN
        assert points_of_submit() <= {position.partition(":")[0] for position in rigs[0].positions()}
        problems: dict[str, str] = {}

        async def work(number: int) -> None:
            while waiting:
                name, position = waiting.pop()
                problem = await strike(rigs[number], name, position)
                if problem is not None:
                    problems[f"{name} / {position}"] = problem

        await asyncio.gather(*(work(number) for number in range(RIGS)))
        if not problems:
            assert "hook.record:after_commit" in rigs[0].positions()
            await asyncio.gather(*(rig.check_told() for rig in rigs), *(rig.all_mailed() for rig in rigs))

    assert problems == {}

"""A process killed at any recorded point of a journey leaves nothing undone, nothing done twice, and nothing behind.

Whatever dies, each payer is mailed that their money came.

Three tests share the positions; `make test` has those within one process. The first strikes where money is on its way
to whom it is for, at the points that ARCHITECTURE.md names. The second strikes after each commit and each call: there
something lasts that did not at the position before. At the begin of a transaction, before its commit and before a call
nothing does, so that these are left to `make soak`.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import pytest

from local.storage import Storage
from tests.forking import ForkServer
from tests.quick_postgres import quick_postgres
from tests.suite.crashes import SETTLED_WITHIN_S, ports_of_each, record, rigged, strike
from tests.suite.journeys import JOURNEYS

RIGS = 6
"""Suites side by side: most of a crash is waiting for a lease to end."""
POSITIONS_MIN = 50
"""Fewer would mean that the recording does not see the journeys."""
NOTHING_NEW = (":begin", ":before_commit", ":before")
PAID = "start and submit"
FEW_RIGS = 3
FEW_MIN = 6

Chosen = Callable[[str, str], bool]
"""Whether to strike in this journey at this position."""


@pytest.mark.faults
async def test_killed_where_money_is_on_its_way_a_payment_ends_as_it_should() -> None:
    named = points_of_submit()

    def is_on_its_way(_: str, position: str) -> bool:
        return is_new(position) and position.partition(":")[0] in named

    await strike_all(is_on_its_way, journeys=(PAID,), rigs=FEW_RIGS, positions_min=FEW_MIN)


@pytest.mark.faults
async def test_killed_wherever_something_new_lasts_each_journey_ends_as_it_should() -> None:
    await strike_all(lambda _, position: is_new(position))


@pytest.mark.soak
async def test_killed_where_nothing_new_lasts_each_journey_ends_as_it_should() -> None:
    await strike_all(lambda _, position: not is_new(position))


def is_new(position: str) -> bool:
    """Return whether something lasts there that did not at the position before."""
    return not position.endswith(NOTHING_NEW)


def points_of_submit() -> set[str]:
    """Return the crash points that ARCHITECTURE.md names on the way of SubmitPayment."""
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    return set(re.findall(r"^\| [A-Z] \| [^|]+ \| `([a-z_.]+)` \|", text, re.MULTILINE))


async def strike_all(
    chosen: Chosen,
    *,
    journeys: Collection[str] = JOURNEYS,
    rigs: int = RIGS,
    positions_min: int = POSITIONS_MIN,
) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-crash-")))
        folder.chmod(0o711)
        server = quick_postgres(folder / "postgres")
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        storages = [
            Storage(admin_url=server.admin_url, passwords=folder / "passwords.json", prefix=f"rig{number}_")
            for number in range(rigs)
        ]
        forks = await stack.enter_async_context(ForkServer())
        # One after the other: a service that starts gives up a database that is busy with thirty others.
        running = [
            await stack.enter_async_context(rigged(storage, forks, ports=ports))
            for storage, ports in zip(storages, ports_of_each(rigs), strict=True)
        ]
        found = await record(running[0], journeys)
        waiting = [(name, position) for name, position in found if chosen(name, position)]
        assert len(waiting) >= positions_min
        assert points_of_submit() <= {position.partition(":")[0] for position in running[0].positions()}
        problems: dict[str, str] = {}

        async def work(number: int) -> None:
            while waiting:
                name, position = waiting.pop()
                problem = await strike(running[number], name, position)
                if problem is not None:
                    problems[f"{name} / {position}"] = problem

        await asyncio.gather(*(work(number) for number in range(rigs)))
        settled_s = [one for rig in running for one in rig.settled_s]
        if not problems:
            assert "hook.record:after_commit" in running[0].positions()
            await asyncio.gather(*(rig.check_told() for rig in running), *(rig.all_mailed() for rig in running))

    assert problems == {}
    assert median(settled_s) < SETTLED_WITHIN_S, settled_s

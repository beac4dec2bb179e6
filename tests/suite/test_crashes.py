"""A process killed at any recorded point of a journey leaves nothing undone, nothing done twice, and nothing behind."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from local.postgres import EmbeddedPostgres
from local.storage import Storage
from tests.suite.crashes import record, rigged, strike

RIGS = 4
"""Suites side by side: most of a crash is waiting for a start and for a lease to end."""
POSITIONS_MIN = 50
"""Fewer would mean that the recording does not see the journeys."""


async def test_killed_at_every_recorded_point_each_journey_ends_as_it_should() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-crash-")))
        folder.chmod(0o711)
        server = EmbeddedPostgres(folder / "postgres")
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        storages = [
            Storage(admin_url=server.admin_url, passwords=folder / "passwords.json", prefix=f"rig{number}_")
            for number in range(RIGS)
        ]
        rigs = [await stack.enter_async_context(rigged(storage)) for storage in storages]
        waiting = await record(rigs[0])
        assert len(waiting) >= POSITIONS_MIN
        problems: dict[str, str] = {}

        async def work(number: int) -> None:
            while waiting:
                name, position = waiting.pop()
                problem = await strike(rigs[number], name, position)
                if problem is not None:
                    problems[f"{name} / {position}"] = problem

        await asyncio.gather(*(work(number) for number in range(RIGS)))

    assert problems == {}

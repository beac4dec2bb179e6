"""A loop goes on after every failure, ends when its step says so, and is gone when its block is left."""

from __future__ import annotations

import asyncio
import logging

import pytest

from services.errors import DependencyUnavailable
from services.runtime.work.loops import repeat, repeating

WITHIN_S = 10.0


async def test_a_failure_is_logged_and_the_step_done_again(caplog: pytest.LogCaptureFixture) -> None:
    failures: list[Exception] = [DependencyUnavailable(dependency="database"), TimeoutError(), ValueError("a bug")]

    async def step() -> bool:
        if failures:
            raise failures.pop(0)
        return False

    async with asyncio.timeout(WITHIN_S):
        await repeat(step, name="the step", every_s=0)
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING, logging.ERROR]


async def test_a_step_that_takes_too_long_is_stopped() -> None:
    begun = 0

    async def step() -> bool:
        nonlocal begun
        begun += 1
        if begun == 1:
            await asyncio.Event().wait()
        return False

    async with asyncio.timeout(WITHIN_S):
        await repeat(step, name="the step", every_s=0, timeout_s=0.001)
    assert begun == 2


async def test_a_loop_runs_beside_its_block_and_ends_with_it() -> None:
    turns: asyncio.Queue[None] = asyncio.Queue()
    before = asyncio.all_tasks()

    async with asyncio.timeout(WITHIN_S):
        async with repeating(lambda: turns.put(None), name="the step", every_s=0):
            await turns.get()
            await turns.get()
    assert [task for task in asyncio.all_tasks() - before if "repeat" in str(task.get_coro())] == []


async def test_a_loop_that_rests_first_does_nothing_in_a_block_that_is_short() -> None:
    turns = 0

    async def step() -> None:
        nonlocal turns
        turns += 1

    async with repeating(step, name="the step", every_s=WITHIN_S, rests_first=True):
        await asyncio.sleep(0)
    assert turns == 0

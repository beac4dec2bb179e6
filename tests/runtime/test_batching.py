"""Calls of one moment share a batch, and none of them pays for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.errors import DependencyUnavailable
from services.runtime.database import batching
from services.runtime.database.batching import Batcher
from tests.eventually import WITHIN_S


class Work:
    """Answers numbers with their squares, as long as it is let to; negative ones fail."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()

    async def one(self, number: int) -> int:
        self.batches.append([number])
        await self.gate.wait()
        if number < 0:
            raise ValueError(number)
        return number * number

    async def many(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.gate.wait()
        if min(numbers) < 0:
            raise ConnectionResetError
        return [number * number for number in numbers]


async def settle() -> None:
    """Let everything come to where it has to wait."""
    for _ in range(20):
        await asyncio.sleep(0)


def batcher(
    work: Work, *, concurrency_max: int = 1, batch_max: int = 10, partition_key: bool = False
) -> Batcher[int, int]:
    return Batcher(
        one=work.one,
        many=work.many,
        concurrency_max=concurrency_max,
        batch_max=batch_max,
        partition_key=(lambda number: abs(number) % 10) if partition_key else None,
    )


async def test_a_call_that_is_alone_goes_at_once() -> None:
    work = Work()
    square = batcher(work)

    assert [await square(number) for number in (1, 2, 3)] == [1, 4, 9]
    assert work.batches == [[1], [2], [3]]


async def test_calls_that_come_meanwhile_go_together() -> None:
    work = Work(is_open=False)
    square = batcher(work, batch_max=5)
    calls = [asyncio.create_task(square(number)) for number in range(9)]
    await settle()
    assert work.batches == [[0]]
    work.gate.set()

    assert await asyncio.gather(*calls) == [number * number for number in range(9)]
    assert work.batches == [[0], [1, 2, 3, 4, 5], [6, 7, 8]]


async def test_what_takes_long_is_overtaken_by_as_many_as_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PATIENCE_S", 0.0)
    work = Work(is_open=False)
    square = batcher(work, concurrency_max=3, batch_max=2)
    calls = [asyncio.create_task(square(number)) for number in range(8)]
    while len(work.batches) < 3:
        await settle()
    calls += [asyncio.create_task(square(number)) for number in (8, 9)]
    await settle()
    assert work.batches == [[0], [1, 2], [3, 4]]
    work.gate.set()

    assert await asyncio.gather(*calls) == [number * number for number in range(10)]
    assert sorted(number for batch in work.batches for number in batch) == list(range(10))


async def test_what_waits_when_a_lane_is_free_again_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PATIENCE_S", 0.0)
    begun: list[int] = []
    gates = [asyncio.Event() for _ in range(4)]

    async def one(number: int) -> int:
        begun.append(number)
        await gates[number].wait()
        return number

    async def many(numbers: Sequence[int]) -> list[int]:
        return [await one(number) for number in numbers]

    ask = Batcher(one=one, many=many, concurrency_max=2, batch_max=1)
    calls = []
    for number in range(4):
        calls.append(asyncio.create_task(ask(number)))
        while len(begun) < min(number + 1, 2):
            await settle()
    gates[0].set()
    while begun != [0, 1, 2]:
        await settle()
    gates[1].set()  # its slot leaves what waits to the one that began later, and that hangs
    gates[3].set()

    async with asyncio.timeout(WITHIN_S):
        assert await calls[3] == 3
    gates[2].set()
    assert await asyncio.gather(*calls) == [0, 1, 2, 3]


async def test_a_batch_that_fails_is_tried_one_by_one() -> None:
    work = Work(is_open=False)
    square = batcher(work)
    calls = [asyncio.create_task(square(number)) for number in (0, 1, -2, 3)]
    await settle()
    work.gate.set()

    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert [answers[0], answers[1], answers[3]] == [0, 1, 9]
    assert isinstance(answers[2], ValueError)
    assert work.batches == [[0], [1, -2, 3], [1], [-2], [3]]


async def test_what_must_not_meet_goes_in_turns_and_in_order() -> None:
    work = Work(is_open=False)
    square = batcher(work, partition_key=True)
    calls = [asyncio.create_task(square(number)) for number in (0, 1, 11, 2, 21, 12)]
    await settle()
    work.gate.set()

    await asyncio.gather(*calls)

    assert work.batches == [[0], [1, 2], [11, 12], [21]]


async def test_a_caller_that_goes_away_takes_back_what_was_not_begun() -> None:
    work = Work(is_open=False)
    square = batcher(work)
    first, second, third = (asyncio.create_task(square(number)) for number in (1, 2, 3))
    await settle()
    second.cancel()
    await settle()
    work.gate.set()

    assert (await first, await third) == (1, 9)
    assert work.batches == [[1], [3]]


async def test_a_first_caller_that_goes_away_lets_the_others_on() -> None:
    work = Work(is_open=False)
    square = batcher(work)
    first, second = (asyncio.create_task(square(number)) for number in (1, 2))
    await settle()
    first.cancel()
    await settle()
    work.gate.set()

    assert await second == 4


async def test_a_caller_that_goes_away_from_a_batch_leaves_it_to_the_others() -> None:
    work = Work(is_open=False)
    square = batcher(work)
    calls = [asyncio.create_task(square(number)) for number in range(4)]
    await settle()
    work.gate.set()
    await settle()
    calls[2].cancel()

    assert await asyncio.gather(calls[0], calls[1], calls[3]) == [0, 1, 9]


async def test_no_more_wait_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WAITING_MAX", 2)
    work = Work(is_open=False)
    square = batcher(work)
    calls = [asyncio.create_task(square(number)) for number in range(3)]
    await settle()

    with pytest.raises(DependencyUnavailable):
        await square(3)

    work.gate.set()
    assert await asyncio.gather(*calls) == [0, 1, 4]

"""Readings that are shared: who gets which, and what is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime

import pytest

from services.errors import RequestInProgress, TooManyCalls
from services.runtime.rpc import call_context
from services.runtime.rpc.access import Access
from services.runtime.rpc.identity import SERVICE, Caller
from services.runtime.work.shared_readings import ANSWER_MARGIN_S, KeptReadings, SharedReadings
from tests.eventually import WITHIN_S, eventually

PAUSE_S = 0.05
FOR_EVER_S = 3600.0
CALLER = Caller(
    subject="shop", tenant_id="main", roles=frozenset({SERVICE}), expire_time=datetime.max.replace(tzinfo=UTC)
)


@pytest.fixture(autouse=True)
def tenant() -> Generator[None]:
    with call_context.acting_for("main"):
        yield


class Source:
    """What is read; each reading says which one it was, and ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.at_once_max = 0
        self.going = asyncio.Event()
        self.spans: list[tuple[float, float]] = []
        """When each reading began and ended, by the loop's time."""

    async def read(self) -> int:
        self.begun += 1
        number, began = self.begun, asyncio.get_running_loop().time()
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            await self.going.wait()
        finally:
            self.at_once -= 1
            self.spans.append((began, asyncio.get_running_loop().time()))
        return number

    async def fail(self) -> int:
        self.begun += 1
        raise RuntimeError

    async def until_begun(self, number: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.begun < number:  # noqa: ASYNC110 a turn of the loop is all that it takes
                await asyncio.sleep(0)


async def asked(
    readings: SharedReadings[int] | KeptReadings[int], source: Source, count: int
) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(readings.ask("thing", source.read)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_who_asks_while_a_reading_runs_shares_the_one_after_it() -> None:
    readings, source = SharedReadings[int](), Source()
    (first,) = await asked(readings, source, 1)
    await source.until_begun(1)
    others = await asked(readings, source, 100)
    source.going.set()
    async with asyncio.timeout(WITHIN_S):
        assert await first == 1
        assert await asyncio.gather(*others) == [2] * 100
    assert (source.begun, source.at_once_max) == (2, 1)


async def test_another_thing_is_read_meanwhile() -> None:
    readings, source, other = SharedReadings[int](), Source(), Source()
    (first,) = await asked(readings, source, 1)
    other.going.set()
    async with asyncio.timeout(WITHIN_S):
        assert await readings.ask("other", other.read) == 1
    source.going.set()
    await first


async def test_a_thing_is_not_read_again_before_its_pause_is_over() -> None:
    readings, source = SharedReadings[int](pause_s=PAUSE_S), Source()
    source.going.set()
    async with asyncio.timeout(WITHIN_S):
        await readings.ask("thing", source.read)
        assert await asyncio.gather(*await asked(readings, source, 10)) == [2] * 10
    (_, ended), (began_again, _) = source.spans
    assert began_again - ended >= PAUSE_S / 2


async def test_nothing_is_kept_of_what_nobody_asks_for() -> None:
    readings, source = SharedReadings[int](pause_s=PAUSE_S), Source()
    source.going.set()
    await asyncio.gather(*await asked(readings, source, 3))
    await eventually(lambda: not readings.known_count)


async def test_a_reading_goes_on_when_who_asked_goes_away() -> None:
    readings, source = SharedReadings[int](), Source()
    (first,) = await asked(readings, source, 1)
    gone, stays = await asked(readings, source, 2)
    first.cancel()
    gone.cancel()
    source.going.set()
    async with asyncio.timeout(WITHIN_S):
        assert await stays == 2


async def test_a_reading_that_fails_fails_for_all_who_share_it_and_for_nobody_else() -> None:
    readings, source = SharedReadings[int](), Source()
    with pytest.raises(RuntimeError):
        await readings.ask("thing", source.fail)
    source.going.set()
    assert await readings.ask("thing", source.read) == 2


async def test_as_many_wait_for_a_reading_as_may() -> None:
    readings, source = SharedReadings[int](asking_max=2), Source()
    tasks = await asked(readings, source, 3)
    with pytest.raises(TooManyCalls):
        await readings.ask("thing", source.read)
    source.going.set()
    async with asyncio.timeout(WITHIN_S):
        assert await asyncio.gather(*tasks) == [1, 2, 2]


async def test_readings_end_with_the_process() -> None:
    readings, source = SharedReadings[int](), Source()
    async with readings.draining():
        tasks = await asked(readings, source, 2)
        await source.until_begun(1)
    assert source.at_once == 0
    await asyncio.wait(tasks)
    assert all(task.cancelled() or task.exception() for task in tasks)


async def test_what_is_kept_is_read_once() -> None:
    readings, source = KeptReadings[int](kept_s=FOR_EVER_S), Source()
    tasks = await asked(readings, source, 10)
    source.going.set()
    async with asyncio.timeout(WITHIN_S):
        assert await asyncio.gather(*tasks) == [1] * 10
        assert await readings.ask("thing", source.read) == 1


async def test_what_is_kept_is_forgotten_in_time() -> None:
    readings, source = KeptReadings[int](kept_s=PAUSE_S), Source()
    source.going.set()
    await readings.ask("thing", source.read)
    await eventually(lambda: not readings.kept_count)
    assert await readings.ask("thing", source.read) == 2


async def test_a_failure_is_not_kept() -> None:
    readings, source = KeptReadings[int](kept_s=FOR_EVER_S), Source()
    with pytest.raises(RuntimeError):
        await readings.ask("thing", source.fail)
    source.going.set()
    assert await readings.ask("thing", source.read) == 2


async def test_the_oldest_goes_when_too_many_are_kept() -> None:
    readings, source = KeptReadings[int](kept_s=FOR_EVER_S, kept_max=2), Source()
    source.going.set()
    for key in ("a", "b", "c"):
        await readings.ask(key, source.read)
    assert await readings.ask("c", source.read) == 3
    assert await readings.ask("a", source.read) == 4


async def test_who_is_the_first_to_ask_with_next_to_no_time_left_does_not_hear_that_another_asks() -> None:
    """The reading is its own: it gets the answer if that comes in time, and else its time is over."""
    readings, source = SharedReadings[int](), Source()

    async def ask() -> int:
        call_context.begin(correlation="c", remaining_s=ANSWER_MARGIN_S / 2)
        call_context.admitted(CALLER, Access(own_as=frozenset()))
        return await readings.ask("thing", source.read)

    first = asyncio.create_task(ask())
    await source.until_begun(1)
    second = asyncio.create_task(ask())
    with pytest.raises(RequestInProgress):
        await second
    assert not first.done()
    source.going.set()
    async with asyncio.timeout(WITHIN_S):
        assert await first == 1

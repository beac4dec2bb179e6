"""Waiting in line: which task is woken, which ones look, and what is left when one is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.errors import TooManyCalls
from services.runtime.work import waiting_room
from services.runtime.work.waiting_room import WaitingRoom
from tests.eventually import WITHIN_S

FAR_S = 60.0


class Thing:
    """A resource that one task holds at a time; it counts how often tasks looked whether it is free."""

    def __init__(self, room: WaitingRoom) -> None:
        self.room = room
        self.is_free = False
        self.looks = 0
        self.taken_by: list[str] = []

    async def take(self, name: str, *, until_s: float = FAR_S) -> bool:
        until = asyncio.get_running_loop().time() + until_s
        with self.room.place("thing", question=name) as place:
            while True:
                self.looks += 1
                if self.is_free:
                    self.is_free = False
                    self.taken_by.append(name)
                    place.served()
                    return True
                if not await place.until_worth_a_look(until):
                    return False

    def release(self) -> None:
        self.is_free = True
        self.room.wake("thing")


@pytest.fixture
async def thing() -> AsyncIterator[Thing]:
    thing = Thing(WaitingRoom())
    yield thing
    assert thing.room.is_empty


async def in_line(thing: Thing, *names: str) -> list[asyncio.Task[bool]]:
    """Let these stand in line, in this order."""
    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(thing.take(name)))
        await asyncio.sleep(0)
    return tasks


async def test_those_who_wait_are_served_in_the_order_they_came(thing: Thing) -> None:
    tasks = await in_line(thing, "first", "second", "third")
    for task in tasks:
        thing.release()
        async with asyncio.timeout(WITHIN_S):
            assert await task
    assert thing.taken_by == ["first", "second", "third"]


async def test_one_is_woken_and_the_others_do_not_look(thing: Thing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_room, "LOOK_BEHIND_S", FAR_S)
    tasks = await in_line(thing, *(str(number) for number in range(100)))
    looks = thing.looks
    thing.release()
    async with asyncio.timeout(WITHIN_S):
        assert await tasks[0]
    assert thing.looks <= looks + 5  # the first one's own looks
    await stopped(tasks[1:])


async def test_what_another_process_lets_go_is_found_by_the_first_in_line(thing: Thing) -> None:
    first, second = await in_line(thing, "first", "second")
    thing.is_free = True  # and no task here is woken
    async with asyncio.timeout(WITHIN_S):
        assert await first
    await stopped([second])


async def test_one_who_goes_away_when_it_is_woken_wakes_the_next(thing: Thing) -> None:
    first, second = await in_line(thing, "first", "second")
    thing.release()
    first.cancel()
    async with asyncio.timeout(WITHIN_S):
        assert await second
    assert thing.taken_by == ["second"]


async def test_whose_question_is_answered_looks_wherever_in_line(thing: Thing) -> None:
    tasks = await in_line(thing, "first", "second", "third")
    thing.is_free = True
    thing.room.answered("third")
    async with asyncio.timeout(WITHIN_S):
        assert await tasks[2]
    await stopped(tasks[:2])


async def test_a_wait_ends_with_its_time(thing: Thing) -> None:
    async with asyncio.timeout(WITHIN_S):
        assert not await thing.take("late", until_s=0.01)


async def test_as_many_wait_as_may() -> None:
    room = WaitingRoom(waiting_max=2)
    with room.place("thing"), room.place("thing"):
        with pytest.raises(TooManyCalls):
            room.check_room("thing")
        with pytest.raises(TooManyCalls), room.place("thing"):
            pass
        with room.place("another"):
            pass
    room.check_room("thing")


async def stopped(tasks: list[asyncio.Task[bool]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

"""Who follows many payments by WatchMany, and adds and drops some as it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import grpc

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from tests.status.history.harness.world import PAUSE_S, Habits, World, began, came, int_of, noting_the_end, whims
from tests.status.history.reports import LEFT, Alive, Asked, Broken, Dropped, Ended, ManyStream, Watcher, now_us

COMMANDS_MAX: Final = 20
"""In one message of ours."""
LATEST_ONLY: Final = 0.25
CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


async def follow_many(watcher: Watcher[ManyStream], payment_ids: Sequence[str], world: World, habits: Habits) -> None:
    """Watch many payments by WatchMany, until cancelled."""
    come_to: dict[str, int | None] = dict.fromkeys(payment_ids)
    latest_only = {payment_id for payment_id in payment_ids if habits.chance.random() < LATEST_ONLY}
    while True:
        stream = ManyStream(watcher=watcher.name)
        watcher.streams.append(stream)
        world.told["streams of WatchMany"] += 1
        async with noting_the_end(stream.events, world, "a WatchMany"), world.patience(habits) as renew:
            call = habits.stub().WatchMany()
            async with streaming(call) as messages:
                await _Talk(stream, call, world, habits, come_to=come_to, latest_only=latest_only).follow(
                    messages, renew
                )
        await asyncio.sleep(habits.chance.uniform(*PAUSE_S))


class _Talk:
    """One WatchMany: what we say on it, and what we hear."""

    def __init__(
        self,
        stream: ManyStream,
        call: Any,
        world: World,
        habits: Habits,
        *,
        come_to: dict[str, int | None],
        latest_only: set[str],
    ) -> None:
        self._stream = stream
        self._call = call
        self._come_to = come_to
        """The last revision that came of each payment; None before any."""
        self._latest_only = latest_only
        self._wanted: set[str] = set()
        self._world = world
        self._habits = habits

    async def follow(self, messages: AsyncIterator[pb.WatchManyResponse], renew: Callable[[], None]) -> None:
        """Add all payments, and read until the end, or until a whim to leave."""
        await self._say([self._add(payment_id, self._come_to[payment_id]) for payment_id in self._come_to])
        async for message in messages:
            renew()
            again = self._note(message)
            if again:
                await asyncio.sleep(self._habits.chance.uniform(*PAUSE_S))
                await self._say([self._add(payment_id, self._come_to[payment_id]) for payment_id in again])
            if await whims(self._world, self._habits):
                self._stream.events.append(Ended(at_us=now_us(), code=LEFT))
                return
            await self._say(self._commands_of_a_whim())

    async def _say(self, commands: Sequence[pb.WatchManyRequest.Command]) -> None:
        for first in range(0, len(commands), COMMANDS_MAX):
            with suppress(asyncio.InvalidStateError):  # the stream has ended, and reading says how
                await self._call.write(pb.WatchManyRequest(commands=commands[first : first + COMMANDS_MAX]))

    def _add(self, payment_id: str, after_revision: int | None) -> pb.WatchManyRequest.Command:
        latest_only = payment_id in self._latest_only
        self._wanted.add(payment_id)
        self._stream.commands.append(
            Asked(payment_id=payment_id, at_us=now_us(), after_revision=after_revision, latest_only=latest_only)
        )
        add = pb.WatchManyRequest.Add(payment_id=payment_id, after_revision=after_revision, latest_only=latest_only)
        return pb.WatchManyRequest.Command(add=add)

    def _drop(self, payment_id: str) -> pb.WatchManyRequest.Command:
        self._wanted.discard(payment_id)
        self._stream.commands.append(Dropped(payment_id=payment_id, at_us=now_us()))
        return pb.WatchManyRequest.Command(drop=pb.WatchManyRequest.Drop(payment_id=payment_id))

    def _commands_of_a_whim(self) -> list[pb.WatchManyRequest.Command]:
        chance = self._habits.chance
        if self._world.quiet.is_set() or chance.random() > self._habits.rewinds:
            return []
        payment_id = chance.choice(list(self._come_to))
        come_to = self._come_to[payment_id]
        commands = [self._drop(payment_id)] if chance.random() < 0.7 else []
        if chance.random() < 0.7:
            after_revision = come_to
            if come_to is not None and chance.random() < 0.5:
                after_revision = chance.choice((None, 0, chance.randrange(come_to + 1)))
            commands.append(self._add(payment_id, after_revision))
        return commands

    def _note(self, message: pb.WatchManyResponse) -> list[str]:
        """Note what came, and return the payments to add again."""
        at_us, events = now_us(), self._stream.events
        if not message.events:
            events.append(Broken(at_us=at_us, what="a message of no events"))
        again = []
        for event in message.events:
            match event.WhichOneof("event"):
                case "created":
                    payment_id = event.created.payment_id
                    events.append(began(event.created, at_us, self._world, payment_id))
                    if event.created.HasField("payment"):
                        self._come_to[payment_id] = event.created.current_revision
                case "transition":
                    payment_id, revision = event.transition.payment_id, event.transition.revision
                    events.append(came(event.transition, at_us, self._world, payment_id))
                    self._come_to[payment_id] = max(revision, self._come_to.get(payment_id) or 0)
                case "canceled":
                    events.append(_canceled(event.canceled, at_us))
                    self._world.told[f"ends of a watch of a WatchMany: {event.canceled.reason or 'OK'}"] += 1
                    if event.canceled.code != 0 and event.canceled.payment_id in self._wanted:
                        again.append(event.canceled.payment_id)
                case "heartbeat":
                    events.append(Alive(at_us=at_us, revision=None))
                case _:
                    events.append(Broken(at_us=at_us, what="an event of nothing"))
        return again


def _canceled(canceled: pb.WatchManyResponse.Canceled, at_us: int) -> Ended:
    has_resume = canceled.HasField("resume_after_revision")
    return Ended(
        at_us=at_us,
        code=CODES[canceled.code],
        reason=canceled.reason,
        resume_after_revision=canceled.resume_after_revision if has_resume else None,
        current_revision=int_of(canceled.metadata.get("current_revision")),
        payment_id=canceled.payment_id,
    )

"""Speaking WatchMany as a caller does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from batzen.status.v1 import status_pb2 as pb
from tests.eventually import WITHIN_S
from tests.status.conftest import StatusServiceStub

Command = pb.WatchManyRequest.Command
Event = pb.WatchManyResponse.Event


def add(payment_id: str, **fields: Any) -> Command:
    return Command(add=pb.WatchManyRequest.Add(payment_id=payment_id, **fields))


def drop(payment_id: str) -> Command:
    return Command(drop=pb.WatchManyRequest.Drop(payment_id=payment_id))


def renew(assertion: str) -> Command:
    return Command(renew=pb.WatchManyRequest.Renew(assertion=assertion))


class Many:
    """A WatchMany stream."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self._events: list[Event] = []
        self.messages = 0

    async def say(self, *commands: Command) -> None:
        await self.call.write(pb.WatchManyRequest(commands=commands))

    async def event(self, *, heartbeats: bool = False) -> Event:
        """Return the next event; signs of life are passed over unless they are wanted."""
        while True:
            while not self._events:
                message = await self.call.read()
                assert isinstance(message, pb.WatchManyResponse), "the stream has ended"
                assert message.events
                self.messages += 1
                self._events = list(message.events)
            event = self._events.pop(0)
            if heartbeats or event.WhichOneof("event") != "heartbeat":
                return event

    async def end(self) -> None:
        """Pass over what comes, until the stream ends; that raises why."""
        while True:
            await self.event()

    async def created(self, payment_id: str) -> pb.WatchManyResponse.Created:
        event = await self.event()
        assert event.WhichOneof("event") == "created", event
        assert event.created.payment_id == payment_id
        return event.created

    async def canceled(self, payment_id: str) -> pb.WatchManyResponse.Canceled:
        event = await self.event()
        assert event.WhichOneof("event") == "canceled", event
        assert event.canceled.payment_id == payment_id
        return event.canceled

    async def revisions(self, payment_id: str, *, upto: int) -> list[int]:
        """Return the revisions that come of one payment until one is at least `upto`; nothing else may come."""
        seen: list[int] = []
        while not seen or seen[-1] < upto:
            event = await self.event()
            assert event.WhichOneof("event") == "transition", event
            assert event.transition.payment_id == payment_id
            seen.append(event.transition.revision)
        return seen


@asynccontextmanager
async def watch_many(status: StatusServiceStub, *, timeout: float | None = WITHIN_S) -> AsyncIterator[Many]:
    call = status.WatchMany(timeout=timeout)
    try:
        yield Many(call)
    finally:
        call.cancel()

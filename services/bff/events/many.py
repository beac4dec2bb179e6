"""`/v1/events?payment=…`: up to 20 payments on one stream. The id of an event is a cursor over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, Self

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from batzen.errors import OutOfRange
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentState
from batzen.watching import as_transition
from services.bff.events.one import payment_of, place_after, reader_of, state_before
from services.bff.events.places import cursor_of, revisions_of
from services.bff.events.told import Frames
from services.runtime.work.loops import detached
from services.web.events.frames import resumes_after, seconds_of, written
from services.web.events.streams import ComesBack
from services.web.failures import Refusal
from services.web.front import Front, person_of
from services.web.sessions.domain import Session

PAYMENTS_MAX: Final = 20
WAITING_MAX: Final = 40
"""Transitions that wait to be written; beyond it those who read payments wait, each with a bounded backlog."""


class ManyEvents:
    """The endpoint: plain ASGI, for a route."""

    def __init__(self, front: Front, frames: Frames) -> None:
        self._front = front
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = await reader_of(self._front, scope)
        asked = list(dict.fromkeys(QueryParams(scope["query_string"]).getlist("payment")))
        if not 0 < len(asked) <= PAYMENTS_MAX:
            raise Refusal(400, "FIELD_INVALID", field="payment", explanation=f"must be 1 to {PAYMENTS_MAX} payments")
        payments = await asyncio.gather(*(payment_of(self._front, session, scope, one) for one in asked))
        said = revisions_of(resumes_after(scope))
        places = {
            payment.payment_id: place_after(str(said.get(payment.payment_id, "")), payment) for payment in payments
        }
        if all(payment.settled and places[payment.payment_id] == payment.revision for payment in payments):
            await Response(status_code=204)(scope, receive, send)
            return
        states = await asyncio.gather(
            *(state_before(self._front, session, scope, one, places[one.payment_id]) for one in payments)
        )
        before = {payment.payment_id: state for payment, state in zip(payments, states, strict=True)}
        read = partial(payment_of, self._front, session, scope)
        source = _Together(self._front, self._frames, session, payments, places, before=before, read=read)
        await self._front.streams.open(scope, send, session_key=session.key, source=source)


class _Together:
    """The source of one stream: the transitions of all its payments, as they come."""

    def __init__(
        self,
        front: Front,
        frames: Frames,
        session: Session,
        payments: Sequence[Payment],
        places: Mapping[str, int | None],
        *,
        before: Mapping[str, PaymentState | None],
        read: Callable[[str], Awaitable[Payment]],
    ) -> None:
        self._front = front
        self._frames = frames
        self._person = person_of(session)
        self._watching = front.peers.watching.of(session.tenant_id)
        self._payments = payments
        self._places = places
        self._before = dict(before)
        self._read = read
        self._seen = {payment_id: place for payment_id, place in places.items() if place is not None}
        self._open = len(payments)
        self.recorded: float | None = None
        self._tasks: Sequence[asyncio.Task[None]] = ()
        self._next: asyncio.Queue[Transition | Exception | None] = asyncio.Queue(WAITING_MAX)

    def wake(self) -> None:
        if self._next.empty():  # else it has something to return
            self._next.put_nowait(None)

    async def next_or_woken(self) -> bytes | None:
        match await self._next.get():
            case None:
                return None
            case StopAsyncIteration():
                self._open -= 1
                if self._open:
                    return None
                raise StopAsyncIteration
            case Exception() as error:
                raise error
            case update:
                self._seen[update.payment_id] = update.revision
                self.recorded = seconds_of(update.record_time)
                events = self._frames.of(update, before=self._before[update.payment_id])
                self._before[update.payment_id] = update.state
                return written(events, event_id=cursor_of(self._seen))

    async def __aenter__(self) -> Self:
        """Follow all payments while inside."""
        self._tasks = [detached(self._follow(payment), name="browser stream of many") for payment in self._payments]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()

    async def _follow(self, payment: Payment) -> None:
        after = self._places[payment.payment_id]
        try:
            if after is None:
                await self._next.put(as_transition(payment))
            if not (payment.settled and after in (None, payment.revision)):
                await self._watch(payment.payment_id, payment.revision if after is None else after)
            await self._next.put(StopAsyncIteration())
        except OutOfRange:
            # Its place was forgotten: it is told how the payment stands, and comes back for what follows.
            await self._next.put(as_transition(await self._read(payment.payment_id)))
            await self._next.put(ComesBack())
        except Exception as error:  # noqa: BLE001 whatever ended it ends the stream, which says what it was
            await self._next.put(error)

    async def _watch(self, payment_id: str, after: int) -> None:
        async with self._watching.watch(
            payment_id,
            after_revision=after,
            until_settled=True,
            assertion=lambda: self._front.minter.mint(self._person),
        ) as updates:
            async for update in updates:
                await self._next.put(update)

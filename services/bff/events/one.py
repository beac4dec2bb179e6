"""`/v1/payments/{payment_id}/events`: one payment. The id of an event is the revision."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from batzen.errors import OutOfRange
from batzen.status.v1.status_pb2 import GetPaymentRequest, ListTransitionsRequest, Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentState
from batzen.watching import Reader, as_transition
from services.bff.events.told import Frames
from services.bff.sessions.returning import PAYMENT
from services.web.events.frames import resumes_after, seconds_of, written
from services.web.events.streams import ComesBack
from services.web.failures import Refusal
from services.web.front import Front, person_of
from services.web.sessions.domain import Session


class OneEvents:
    """The endpoint: plain ASGI, for a route."""

    def __init__(self, front: Front, frames: Frames) -> None:
        self._front = front
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = await reader_of(self._front, scope)
        payment = await payment_of(self._front, session, scope, scope["path_params"]["payment_id"])
        after = place_after(resumes_after(scope), payment)
        if payment.settled and after == payment.revision:
            await Response(status_code=204)(scope, receive, send)  # it came back although all was told
            return
        source = Transitions(
            self._front.peers.watching.of(session.tenant_id).watch(
                payment.payment_id,
                after_revision=payment.revision if after is None else after,
                until_settled=True,
                assertion=partial(self._front.minter.mint, person_of(session)),
            ),
            self._frames,
            begins_with=payment if after is None else None,
            before=await state_before(self._front, session, scope, payment, after),
            read=partial(payment_of, self._front, session, scope, payment.payment_id),
        )
        await self._front.streams.open(scope, send, session_key=session.key, source=source)


class Transitions:
    """The source of one stream: the payment as it stands for who comes new, and each transition after."""

    __slots__ = ("_before", "_begins_with", "_frames", "_is_lost", "_read", "_reader", "_watch", "recorded")

    def __init__(
        self,
        watch: AbstractAsyncContextManager[Reader],
        frames: Frames,
        *,
        begins_with: Payment | None,
        before: PaymentState | None,
        read: Callable[[], Awaitable[Payment]],
    ) -> None:
        """`before` is the state that the browser was told last; None where it was told none.

        `read` reads the payment as it stands, for a reader whose place in its history was forgotten.
        """
        self._watch = watch
        self._reader: Reader | None = None
        self._frames = frames
        self._begins_with = begins_with
        self._before = before
        self._read = read
        self._is_lost = False
        self.recorded: float | None = None

    async def __aenter__(self) -> Self:
        self._reader = await self._watch.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._watch.__aexit__(None, None, None)

    def wake(self) -> None:
        if self._reader is not None:
            self._reader.wake()

    async def next_or_woken(self) -> bytes | None:
        update = await self._next()
        if update is None:
            return None
        self.recorded = seconds_of(update.record_time)
        events, self._before = self._frames.of(update, before=self._before), update.state
        return written(events, event_id=str(update.revision))

    async def _next(self) -> Transition | None:
        if self._is_lost:
            raise ComesBack
        if self._begins_with is not None:
            payment, self._begins_with = self._begins_with, None
            return as_transition(payment)
        if self._reader is None:
            raise RuntimeError("what a stream tells is read while the source is entered")
        try:
            return await self._reader.next_or_woken()
        except OutOfRange:
            self._is_lost = True
            return as_transition(await self._read())


async def reader_of(front: Front, scope: Scope) -> Session:
    """Return the session of who asks for a stream. Raises Refusal where there is none."""
    if scope["method"] != "GET":  # a HEAD would hold a stream open that nobody reads
        raise Refusal(405, "METHOD_NOT_ALLOWED")
    session = await front.session(scope)
    if session is None:
        raise Refusal(401, "LOGIN_REQUIRED")
    return session


async def payment_of(front: Front, session: Session, scope: Scope, payment_id: str) -> Payment:
    """Return a payment, which its owner alone is shown: refused with a status before anything is streamed."""
    if not PAYMENT.fullmatch(payment_id):
        raise Refusal(404, "PAYMENT_NOT_FOUND", field="payment_id")
    request = GetPaymentRequest(payment_id=payment_id)
    answer = await front.peers.calls.status.GetPayment(request, metadata=front.word(session, scope))
    return answer.payment


async def state_before(
    front: Front, session: Session, scope: Scope, payment: Payment, after: int | None
) -> PaymentState | None:
    """Return the state at the revision after which a browser goes on; None where it cannot have been SUCCEEDED.

    It is read where money was taken alone: browsers that wait for a payment come back by the thousand after a deploy.
    """
    if not after or not payment.HasField("complete_time"):
        return None
    if after == payment.revision:
        return payment.state
    request = ListTransitionsRequest(payment_id=payment.payment_id, after_revision=after - 1, page_size=1)
    try:
        answer = await front.peers.calls.status.ListTransitions(request, metadata=front.word(session, scope))
    except OutOfRange:  # its place was forgotten, so it is told how the payment stands
        return None
    return next((one.state for one in answer.transitions if one.revision == after), None)


def place_after(said: str, payment: Payment) -> int | None:
    """Return after which revision a browser goes on; None for one that is new, or says what cannot be."""
    revision = int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None
    return None if revision is None or revision > payment.revision else revision

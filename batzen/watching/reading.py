"""Reading a payment and its history by calls, and the iterator that hands a backlog to its reader."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Self

from batzen import errors
from batzen.status.v1.status_pb2 import GetPaymentRequest, ListTransitionsRequest, Payment, Transition
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.watching.backlog import Backlog, Needs
from batzen.watching.limits import Backoff, WatchLimits
from batzen.watching.optimism import Expectation, Optimism, Update

READ_TIMEOUT_S: Final = 10.0


class Archive:
    """What status has written down, read as the client itself, or as the person whose token is given."""

    def __init__(self, status: StatusServiceStub, *, limits: WatchLimits) -> None:
        self._status = status
        self._at_once = asyncio.Semaphore(limits.reads_at_once)

    async def payment(self, payment_id: str, *, token: str) -> Payment:
        request = GetPaymentRequest(payment_id=payment_id)
        async with self._at_once:
            answer = await self._status.GetPayment(request, timeout=READ_TIMEOUT_S, metadata=_bearer(token))
        return answer.payment

    async def transitions(
        self, payment_id: str, *, after_revision: int, at_most: int, token: str
    ) -> Sequence[Transition]:
        """Return the oldest transitions after a revision."""
        request = ListTransitionsRequest(payment_id=payment_id, after_revision=after_revision, page_size=at_most)
        async with self._at_once:
            answer = await self._status.ListTransitions(request, timeout=READ_TIMEOUT_S, metadata=_bearer(token))
        return answer.transitions


class Reader:
    """The updates of one watch, for one task to iterate over. An `anext` that is cancelled loses nothing."""

    def __init__(
        self, payment_id: str, backlog: Backlog, *, archive: Archive, limits: WatchLimits, backoff: Backoff
    ) -> None:
        self._payment_id = payment_id
        self._backlog = backlog
        self._archive = archive
        self._limits = limits
        self._backoff = backoff
        self._trouble_since: float | None = None
        self._is_woken = False
        self._waiting: asyncio.Future[None] | None = None  # an Event has a deque, of 0.7 KB for one that waits
        backlog.changed = self.wake

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Transition:
        while True:
            update = await self.next_or_woken()
            if update is not None:
                return update

    def wake(self) -> None:
        """Have `next_or_woken` return, if it waits."""
        self._is_woken = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def next_or_woken(self) -> Transition | None:
        """Return the next update, or None after `wake`, also one that came while something was read.

        Raises what ends the watch, StopAsyncIteration too.
        """
        backlog = self._backlog
        self._is_woken = False
        while True:
            if (update := backlog.take()) is not None:
                return update
            if backlog.error is not None:
                raise backlog.error
            if backlog.is_over:
                raise StopAsyncIteration
            if backlog.needs is Needs.NOTHING:
                await self._until_woken()
                if not backlog.is_ready and backlog.needs is Needs.NOTHING:
                    return None
            else:
                await self._read()

    async def _until_woken(self) -> None:
        if not self._is_woken:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None

    async def _read(self) -> None:
        """Read what the backlog needs; when that fails, or brings nothing new, wait a little."""
        backlog, needs = self._backlog, self._backlog.needs
        assertion = backlog.assertion
        token = "" if assertion is None else assertion.current()
        trouble: errors.BatzenError | None = None
        try:
            if needs is Needs.PAYMENT or backlog.tail is None:
                backlog.begin(await self._archive.payment(self._payment_id, token=token))
            else:
                transitions = await self._archive.transitions(
                    self._payment_id, after_revision=backlog.tail, at_most=self._limits.queue_max, token=token
                )
                backlog.fill(transitions)
            if assertion is not None:
                assertion.is_verified = True
        except errors.LASTING as error:
            is_renewed = assertion is not None and assertion.current() != token
            if not (isinstance(error, errors.Unauthenticated) and is_renewed):
                backlog.fail(error)
            trouble = error
        except errors.BatzenError as error:
            trouble = error
        if trouble is None and (backlog.is_ready or backlog.needs is not needs):
            self._trouble_since = None
            self._backoff.succeeded()
        elif not backlog.is_ready:
            await self._wait(trouble)

    async def _wait(self, trouble: errors.BatzenError | None) -> None:
        now = asyncio.get_running_loop().time()
        if self._trouble_since is None:
            self._trouble_since = now
        if trouble is not None and now - self._trouble_since > self._limits.patience_s:
            self._backlog.fail(trouble)
        else:
            await asyncio.sleep(self._backoff.failed())


class OptimisticReader:
    """The updates of one watch with what is expected laid over, for one task to iterate over."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._optimism = Optimism()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update:
        while True:
            overlay = self._optimism.overlay()
            if overlay is not None:
                return overlay
            update = await self._reader.next_or_woken()
            if update is not None:
                return self._optimism.heard(update)

    def expected(self, expectation: Expectation) -> None:
        """Show what is expected."""
        self._optimism.expected(expectation)
        self._reader.wake()

    def withdrawn(self, expectation: Expectation) -> None:
        """Show it no longer."""
        self._optimism.withdrawn(expectation)
        self._reader.wake()


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call in the name of whose token it is; empty: in our own."""
    return (("authorization", f"Bearer {token}"),) if token else ()

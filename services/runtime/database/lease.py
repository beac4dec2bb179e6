"""A leased row: taken by one process at a time, renewed while that works on it, released when it is done.

The row has `held_until` and `fence`. Each lease has a fence of its own: a write names it, and changes nothing once the
row is held under another. So a process that was away for too long cannot undo what its successor did; it gets
`LeaseLost`. A lease that is released takes its fence with it, so that a renewal on its way finds nothing to renew.

If the process dies while it holds a row, the lease ends by itself, and the next one to take the row goes on from what
was saved. The same if a release does not reach the database.

The statements are the service's own, since what is read with the row and what is due after it differ.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from services.errors import DependencyUnavailable, RequestInProgress, ServiceError, Unavailable
from services.runtime.rpc import call_context
from services.runtime.work.loops import detached, repeat
from services.runtime.work.waiting_room import WaitingRoom

LEASE: Final = timedelta(seconds=3)
"""How long a row stays with one process. Renewed while the work runs, so it bounds the wait after a crash."""
RENEW_EVERY_S: Final = LEASE.total_seconds() / 3
"""Two renewals may fail before the lease ends."""

Key = tuple[str, str]
"""Of a leased row: its tenant and its id there."""

H = TypeVar("H")
A = TypeVar("A")

_logger = logging.getLogger(__name__)


class LeaseLost(Unavailable):
    """Another process works on this payment now; send the same call again."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retry_after = DependencyUnavailable.retry_after

    def __init__(self) -> None:
        super().__init__(dependency="lease")


class LeaseStore(Protocol[H]):
    """The statements on leased rows, each committed by itself. All may raise `DependencyUnavailable`."""

    async def take(self, tenant_id: str, row_id: str, /) -> H | None:
        """Take a row under a new fence; None while another holds it, or if there is none."""

    async def renew(self, held: H, /) -> bool:
        """Hold the row for another `LEASE`; False if it was released, or is another's by now."""

    async def release(self, held: H, error: BaseException | None, /) -> None:
        """Release the row as it was last saved; nothing happens when it is another's by now.

        `error` is what ended the work on it: an exception, or a `CancelledError` where the process goes away.
        """


class Leases(Generic[H]):
    """The leased rows of one table in this process, and those who wait for one in line."""

    def __init__(
        self, store: LeaseStore[H], *, key_of: Callable[[H], Key], renew_every_s: float = RENEW_EVERY_S
    ) -> None:
        """`key_of` names what is held."""
        self._store = store
        self._key_of = key_of
        self._renew_every_s = renew_every_s
        self._room = WaitingRoom()

    @asynccontextmanager
    async def holding(self, held: H) -> AsyncIterator[None]:
        """Keep a lease that was taken while inside, and wake whoever is next in line.

        Inside, the row is saved and released. On an error it is released as it was last saved.
        """
        renewing = detached(self._renew(held), name="lease_renewal")
        try:
            yield
        except LeaseLost:
            raise
        except (Exception, asyncio.CancelledError) as error:
            await self._release(held, error)
            raise
        finally:
            renewing.cancel()
            self._room.wake(self._key_of(held))

    async def acquire(self, key: Key, *, until: float, check: Callable[[], Awaitable[None]] | None = None) -> H:
        """Take a row, waiting in line while another holds it; raises `RequestInProgress` at the loop's time `until`.

        `check` is asked before waiting, and raises if there is no such row. Raises `TooManyCalls` if the line is full.
        """
        held = await self._store.take(*key)
        if held is not None:
            return held
        if check is not None:
            await check()
        _, held = await self._wait(key, question=None, answer=_no_answer, until=until)
        assert held is not None, "nothing else ends the wait"  # noqa: S101
        return held

    async def acquire_or_answer(
        self, key: Key, *, question: object, answer: Callable[[], Awaitable[A | None]], until: float
    ) -> tuple[A, None] | tuple[None, H]:
        """Wait until `answer` returns one, or the row is ours: whoever held it may have answered what we ask, too.

        `question` is what `answered` is called with. Raises as `acquire` does, and what `answer` raises.
        """
        found = await answer()
        if found is not None:
            return found, None
        return await self._wait(key, question=question, answer=answer, until=until)

    async def _wait(
        self, key: Key, *, question: object, answer: Callable[[], Awaitable[A | None]], until: float
    ) -> tuple[A, None] | tuple[None, H]:
        with self._room.place(key, question=question) as place:
            while True:
                # At once, although it was tried: it may have been released before there was anybody in line to wake.
                held = await self._store.take(*key)
                if held is not None:
                    place.served()
                    return None, held
                found = await answer()
                if found is not None:
                    return found, None
                if not await place.until_worth_a_look(until):
                    raise RequestInProgress

    def check_room(self, key: Key) -> None:
        """Raise `TooManyCalls` if as many wait for a row as may: before anything is written down that would wait."""
        self._room.check_room(key)

    def answered(self, question: object) -> None:
        """Wake all who wait for the answer to a question."""
        self._room.answered(question)

    async def _release(self, held: H, error: BaseException) -> None:
        try:
            await self._store.release(held, error)
        except ServiceError:
            _logger.warning("the lease of %s could not be released; it ends by itself", self._key_of(held)[1])

    async def _renew(self, held: H) -> None:
        await repeat(
            partial(self._store.renew, held),
            name="lease_renewal",
            subject=self._key_of(held)[1],
            every_s=self._renew_every_s,
            rests_first=True,
            is_vital=False,  # the lease ends by itself, and who holds the row finds that out as it writes
        )


async def _no_answer() -> None:
    return None


def patience(*, wait_max_s: float, answer_margin_s: float = 0.1) -> float:
    """Return the loop's time at which a call that waits gives up: so early that its answer still arrives in time.

    That is `wait_max_s` from now when no deadline says less.
    """
    remaining_s = call_context.time_remaining()
    wait_s = wait_max_s if remaining_s is None else remaining_s - answer_margin_s
    return asyncio.get_running_loop().time() + wait_s

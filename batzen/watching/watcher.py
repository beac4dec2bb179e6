"""All watches of a process over one stream: who watches what, on which connection, and what is expected."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, TypedDict, Unpack

import grpc

from batzen import errors
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.type.v1.payment_pb2 import PaymentState
from batzen.vocabularies import PHASES
from batzen.watching.assertions import Assertion, Token
from batzen.watching.backlog import Backlog
from batzen.watching.connection import Connection, ConnectionState
from batzen.watching.figures import Figures
from batzen.watching.limits import Backoff, WatchLimits
from batzen.watching.optimism import Expectation, Update
from batzen.watching.polling import Poller
from batzen.watching.reading import Archive, OptimisticReader, Reader
from batzen.watching.seen import Seen
from batzen.watching.session import Session
from batzen.watching.stream_connection import StreamConnection
from batzen.watching.watch_registry import WatchRegistry

EXPECTED_FOR_MAX_S: Final = 300.0
"""The longest that something may be shown that is not true yet."""
EXPECTED_MAX: Final = 10_000
"""Payments of which something is expected; beyond it the oldest expectation is withdrawn."""


class WatchOptions(TypedDict, total=False):
    """How a payment is watched; `Client.watch` says what they mean."""

    after_revision: int | None
    until_settled: bool
    latest_only: bool
    assertion: Token | None


class Watcher:
    """Watches payments for everyone in this process, as one caller. For the tasks of one event loop."""

    def __init__(
        self,
        status: StatusServiceStub,
        *,
        token: Callable[[], str],
        limits: WatchLimits | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """`token` returns the caller's own token. `limits` and `chance` are for tests."""
        self.connection = Connection(time.monotonic)
        """How it stands with the server."""
        self.figures = Figures()
        self._limits = limits or WatchLimits()
        self.seen = Seen(payments_max=self._limits.seen_max)
        """The last that was seen of each payment."""
        self._status = status
        self._token = token
        self._chance = chance or random.Random()  # noqa: S311 not a secret
        self._archive = Archive(status, limits=self._limits)
        self._registry = WatchRegistry(
            limits=self._limits, figures=self.figures, chance=self._chance, saw=self.seen.note, began=self._began
        )
        self._connections: list[StreamConnection] = []
        self._poller = Poller(
            lambda: self._connections,
            archive=self._archive,
            limits=self._limits,
            figures=self.figures,
            chance=self._chance,
        )
        self._optimists: defaultdict[str, set[OptimisticReader]] = defaultdict(set)
        self._expectations: dict[str, Expectation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # What runs for all of a process must not run in the context of the request that happened to be the first.
        self._context = contextvars.copy_context()
        self._end: Exception | None = None

    def watch(self, payment_id: str, **options: Unpack[WatchOptions]) -> AbstractAsyncContextManager[Reader]:
        """Follow a payment inside; see `Client.watch`."""
        return _Watch(partial(self._begin, payment_id, options))

    @asynccontextmanager
    async def watch_optimistic(
        self, payment_id: str, **options: Unpack[WatchOptions]
    ) -> AsyncIterator[AsyncIterator[Update]]:
        """Follow a payment inside, with what is expected of it; see `Client.watch_optimistic`."""
        async with self.watch(payment_id, **options) as reader:
            optimist = OptimisticReader(reader)
            if payment_id in self._expectations:
                optimist.expected(self._expectations[payment_id])
            self._optimists[payment_id].add(optimist)
            try:
                yield optimist
            finally:
                self._optimists[payment_id].discard(optimist)
                if not self._optimists[payment_id]:
                    del self._optimists[payment_id]

    @property
    def payment_ids(self) -> frozenset[str]:
        """The payments that somebody watches."""
        return frozenset(payment_id for session in self._registry.sessions for payment_id in session.topics)

    def expect(
        self,
        payment_id: str,
        state: PaymentState,
        *,
        through: Collection[PaymentState] = (),
        timeout_s: float,
    ) -> Expected:
        """Show a state to optimistic watchers, until the truth comes; see `Client.expect`."""
        if state not in PHASES:
            raise ValueError("An expected state has to be one of PaymentState.")
        if not 0 < timeout_s <= EXPECTED_FOR_MAX_S:
            raise ValueError(f"timeout_s has to be more than 0 and at most {EXPECTED_FOR_MAX_S:g}.")
        seen = self.seen.get(payment_id)
        expectation = Expectation(
            payment_id=payment_id,
            state=state,
            through=frozenset(through),
            after_revision=None if seen is None else seen.revision,
        )
        if len(self._expectations) >= EXPECTED_MAX:
            self._withdraw(next(iter(self._expectations.values())))
        self._expectations[payment_id] = expectation
        for optimist in self._optimists.get(payment_id, ()):
            optimist.expected(expectation)
        asyncio.get_running_loop().call_later(timeout_s, self._withdraw, expectation)
        return Expected(lambda: self._withdraw(expectation))

    async def close(self) -> None:
        """End all watches; a reader that still iterates gets `Cancelled`."""
        self._finish(errors.refused(grpc.StatusCode.CANCELLED, message="The client was closed."))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # what broke was told to all readers
        self.connection.to(ConnectionState.CLOSED)

    def _begin(self, payment_id: str, options: WatchOptions) -> tuple[Reader, Callable[[], None]]:
        """Return a reader that has joined, and what has it leave."""
        if self._end is not None:
            raise self._end.again() if isinstance(self._end, errors.BatzenError) else self._end
        after_revision, assertion = options.get("after_revision"), options.get("assertion")
        if after_revision is not None and after_revision < 0:
            raise ValueError("after_revision has to be 0 or more.")
        backlog = Backlog(
            queue_max=self._limits.queue_max,
            figures=self.figures,
            after_revision=after_revision,
            until_settled=options.get("until_settled", False),
            latest_only=options.get("latest_only", False),
            assertion=None if assertion is None else Assertion(assertion),
        )
        backoff = Backoff(self._limits, self._chance)
        reader = Reader(payment_id, backlog, archive=self._archive, limits=self._limits, backoff=backoff)
        topic = self._registry.join(payment_id, backlog)
        return reader, partial(self._registry.leave, topic, backlog)

    def _began(self, session: Session) -> None:
        """Keep a stream open for a session that the registry has made."""
        if not self._connections:
            self._run(self._poller.run())
            self._run(self._renew())
        connection = StreamConnection(
            session,
            self._status,
            token=self._token,
            limits=self._limits,
            figures=self.figures,
            chance=self._chance,
            state_changed=self._look,
        )
        self._connections.append(connection)
        self._run(connection.run())

    async def _renew(self) -> None:
        parts = self._limits.renew_parts
        for part in itertools.cycle(range(parts)):
            await asyncio.sleep(self._limits.renew_every_s / parts)
            for session in self._registry.sessions:
                session.renew(part, parts=parts)

    def _withdraw(self, expectation: Expectation) -> None:
        if self._expectations.get(expectation.payment_id) is expectation:
            del self._expectations[expectation.payment_id]
        for optimist in self._optimists.get(expectation.payment_id, ()):
            optimist.withdrawn(expectation)

    def _look(self) -> None:
        """Follow the state of the connections: together they have the worst of those that have something to watch."""
        states = {connection.state for connection in self._connections}
        worst = (ConnectionState.POLLING, ConnectionState.CONNECTING, ConnectionState.STREAMING)
        self.connection.to(next((state for state in worst if state in states), ConnectionState.IDLE))
        self._poller.look()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """See that nobody waits for ever if one of our own tasks fails, which is a bug."""
        if not task.cancelled() and (bug := task.exception()) is not None:
            broken = RuntimeError("The watcher broke; this is a bug.")
            broken.__cause__ = bug
            self._finish(broken)

    def _finish(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
        self._registry.fail(error)


class _Watch(AbstractAsyncContextManager[Reader]):
    """One watch. A process has thousands, and a generator in the place of this holds three times as much."""

    __slots__ = ("_begin", "_leave")

    def __init__(self, begin: Callable[[], tuple[Reader, Callable[[], None]]]) -> None:
        self._begin: Callable[[], tuple[Reader, Callable[[], None]]] | None = begin
        self._leave: Callable[[], None] | None = None

    async def __aenter__(self) -> Reader:
        begin, self._begin = self._begin, None
        if begin is None:
            raise RuntimeError("A watch is entered once.")
        reader, self._leave = begin()
        return reader

    async def __aexit__(self, *_: object) -> None:
        if self._leave is not None:
            self._leave()


class Expected:
    """Something that was said to be expected. As a context manager it is withdrawn if what is done inside fails."""

    def __init__(self, withdraw: Callable[[], None]) -> None:
        self.withdraw = withdraw
        """Take it back, when it turned out that it will not come true."""

    def __enter__(self) -> Expected:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.withdraw()

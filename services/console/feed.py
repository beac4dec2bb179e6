"""What happens to payments, told to an operator's page while it happens: one stream a page, in the operator's name.

    Route("/payments/events", Feed(front, filter_of=…, render=…), methods=["GET"])

The page names its filter in the address, and the cursor of the list that it shows (`ListPaymentsResponse.cursor`) as
`?after=`; so nothing that happened between is lost. Changes of a quarter of a second are told together, of each payment
the last alone (so a page takes ENTERED and INSIDE alike). `render` makes events of them, whose data may be HTML,
which the page puts in place. Besides those there are

- `reload`: more happened, or longer ago, than can be told; the page loads its list again;
- `away` and `back`: status is not reached, so that the page may be behind, and is reached again; nothing is lost;
- `end`: the session ended, or the operator may not see this any more; the page does not come back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, Self

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from batzen.errors import LASTING, BatzenError, InvalidArgument, OutOfRange, Unauthenticated
from batzen.status.v1.status_pb2 import PaymentFilter, WatchPaymentsRequest, WatchPaymentsResponse
from services.runtime.work.loops import detached
from services.web.events.frames import Event, resumes_after, seconds_of, written
from services.web.failures import Refusal
from services.web.front import Front
from services.web.sessions.domain import Session

PAINT_S: Final = 0.25
"""Between two chunks: a page is painted at most four times a second."""
TOGETHER_MAX: Final = 200
"""Payments in one chunk; beyond it the page is told to load its list again."""
RETRY_S: Final = (0.2, 5.0)
"""Between two tries to reach status, doubling."""
FAILURES_COUNTED: Final = 10
"""More only repeat the longest wait."""
WORDS_MAX: Final = 5
"""Words in a row that status does not take before the stream ends."""
AWAY_AFTER: Final = 4
"""Tries in a row that fail before the page is told, in some 1 s: another replica, or a new word, takes less."""
RELOAD: Final = Event(name="reload", data="")
AWAY: Final = Event(name="away", data="")
BACK: Final = Event(name="back", data="")

Change = WatchPaymentsResponse.Change
FilterOf = Callable[[QueryParams], PaymentFilter]
"""Reads a page's filter from its address. Raises Refusal for one that is none."""
Render = Callable[[Sequence[Change], Session], Sequence[Event]]
"""Makes events of changes, in their order, for the person of a session; none where the page need not be told."""


class Feed:
    """The endpoint: plain ASGI, for a route."""

    def __init__(self, front: Front, *, filter_of: FilterOf, render: Render) -> None:
        self._front = front
        self._filter_of = filter_of
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = await self._front.session(scope)
        if session is None:
            raise Refusal(401, "LOGIN_REQUIRED")
        source = _Changes(
            self._front,
            scope,
            session,
            filter_=self._filter_of(Request(scope).query_params),
            cursor=resumes_after(scope),
            render=self._render,
        )
        await self._front.streams.open(scope, send, session_key=session.key, source=source)


class _Changes:
    """The source of one stream: a feed that is read beside it, and what of it is still to be told."""

    def __init__(
        self, front: Front, scope: Scope, session: Session, *, filter_: PaymentFilter, cursor: str, render: Render
    ) -> None:
        self._front = front
        self._scope = scope
        self._session = session
        self._filter = filter_
        self._cursor = cursor
        self._render = render
        self._waiting: dict[str, Change] = {}
        self._is_behind = False
        self._is_away = False
        self._is_shown_away = False
        self._error: BaseException | None = None
        self._woken = asyncio.Event()
        self.recorded: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Read the feed while inside."""
        self._reading = detached(self._read(), name="console feed")
        self._reading.add_done_callback(self._stopped)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()

    def wake(self) -> None:
        self._woken.set()

    async def next_or_woken(self) -> bytes | None:
        await self._woken.wait()
        if self._waiting or self._is_behind:
            await asyncio.sleep(PAINT_S)
        if self._error is None:  # else it is raised by the next call, after what is told now
            self._woken.clear()
        changes, self._waiting = list(self._waiting.values()), {}
        is_behind, self._is_behind = self._is_behind, False
        times = [seconds_of(change.payment.update_time) for change in changes]
        self.recorded = min((time for time in times if time is not None), default=None)
        if is_behind:
            return written([RELOAD], event_id=self._cursor)
        if changes:
            events = [*self._reached(), *self._render(changes, self._session)]
            return written(events, event_id=self._cursor)
        if reached := self._reached():
            return written(reached, event_id=self._cursor)
        if self._error is not None:
            raise self._error
        return None

    def _reached(self) -> Sequence[Event]:
        """Return what the page has to be told of whether status is reached."""
        if self._is_away == self._is_shown_away:
            return []
        self._is_shown_away = self._is_away
        return [AWAY if self._is_away else BACK]

    async def _read(self) -> None:
        failures = 0
        while self._error is None:
            try:
                async for response in self._front.peers.calls.status.WatchPayments(
                    WatchPaymentsRequest(filter=self._filter, cursor=self._cursor),
                    metadata=self._front.word(self._session, self._scope),
                ):
                    self._take(response)
                    failures = 0
            except (OutOfRange, InvalidArgument) as error:
                self._begin_anew(error)
            except BatzenError as error:
                # The word that a stream began with runs out; the next begins with a new one.
                if isinstance(error, LASTING) and not (isinstance(error, Unauthenticated) and failures < WORDS_MAX):
                    self._fail(error)
                if failures + 1 >= AWAY_AFTER:
                    self._reach(is_away=True)
                await asyncio.sleep(random.uniform(0.5, 1) * min(RETRY_S[0] * 2**failures, RETRY_S[1]))  # noqa: S311
                failures = min(failures + 1, FAILURES_COUNTED)

    def _reach(self, *, is_away: bool) -> None:
        if is_away != self._is_away:
            self._is_away = is_away
            self.wake()

    def _take(self, response: WatchPaymentsResponse) -> None:
        self._reach(is_away=False)
        for change in response.changes:
            self._waiting.pop(change.payment.payment_id, None)  # the last that happened is told last
            self._waiting[change.payment.payment_id] = change
        if len(self._waiting) > TOGETHER_MAX:
            self._waiting.clear()
            self._is_behind = True
        if response.cursor:
            self._cursor = response.cursor
        if response.changes:
            self.wake()

    def _begin_anew(self, error: BatzenError) -> None:
        """Go on from now where the place is too old, or none of ours; a second refusal of that kind is the filter's."""
        if not self._cursor:
            self._fail(error)
            return
        self._cursor = ""
        self._is_behind = True
        self.wake()

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self.wake()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """See that nobody waits for ever if reading fails, which is a bug."""
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._fail(bug)

"""Runs what is due: the one loop of a process for all of its work.

One statement a second asks what is due, on a connection that also listens for other processes; that is all an idle
process costs. Whoever makes work due wakes the engine of its own process, and the others only when that one is busy.

What becomes of a row whose handling
- succeeds: it is released, done;
- raises `RetryLater`: it is released and due again, and no failure is counted;
- raises because this service's database is away: the same; if even that cannot be written, it is due when its lease
  ends;
- raises anything else: it moves to the back, by its kind's `RetryPolicy`, and after the last try it is a dead letter;
- ends with its process: it is due when its lease ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

import asyncpg

from services.errors import DependencyUnavailable
from services.runtime.database.connections import (
    DRIVER_ERRORS,
    DatabaseUrl,
    DirectConnections,
    connect_held,
    is_unavailable,
    unavailable_as_service_error,
)
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.tracing import Kind, Value
from services.runtime.observability.work_metrics import Outcome, WorkMetrics
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work import statements
from services.runtime.work.kinds import SLOTS, RetryLater, Work, WorkClass, WorkKind, jittered, problem_of
from services.runtime.work.loops import detached, repeating

POLL_S: Final = 1.0
"""Between two looks at what is due when nothing wakes us: how late work may start whose wake-up was lost."""
RENEW_EVERY_S: Final = 1.0
"""A third of a lease."""
AWAY_DELAY: Final = timedelta(milliseconds=500)
"""How long a row rests that met its own database away."""
GRACE_S: Final = 10.0
"""How long work may finish when the process stops; afterwards it is given back."""
CHANNEL: Final = "batzen_work"

_logger = logging.getLogger(__name__)


class Engine:
    """Works on the rows of some kinds, until it is stopped."""

    def __init__(
        self,
        url: DatabaseUrl,
        held: DirectConnections,
        *,
        clock: Clock,
        application_name: str,
        tenants: Sequence[str] | None = None,
        meter: Meter = OFF,
    ) -> None:
        """With `tenants` only their rows are worked on; the others are another process's."""
        self._url = url
        self._held = held
        self._clock = clock
        self._application_name = application_name
        self._tenants = None if tenants is None else list(tenants)
        self._metrics = WorkMetrics(meter)
        self._kinds: tuple[WorkKind, ...] = ()
        self._next_due = ""
        self._claims: dict[WorkKind, str] = {}
        self._running: dict[asyncio.Task[None], Work] = {}
        self._taken: Counter[WorkClass] = Counter()
        self._to_look: set[WorkClass] = set()
        self._to_notify: set[WorkClass] = set()
        self._woken = asyncio.Event()
        self._listener: asyncpg.Connection | None = None
        self._notifying: asyncio.Task[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._is_running = False
        self._poll_at = 0.0
        self._when_ending: list[Callable[[], object]] = []

    @property
    def kinds(self) -> Sequence[WorkKind]:
        """What it works on."""
        return self._kinds

    def register(self, *kinds: WorkKind) -> None:
        """Say what there is to work on: once, before it runs. Until then `wake` tells other processes alone."""
        self._kinds = kinds
        bound = self._tenants is not None
        self._next_due = statements.next_due(kinds, tenants=bound)
        self._claims = {kind: statements.claim(kind, tenants=bound) for kind in kinds}
        self._metrics.begin(kind.name for kind in kinds)

    def when_ending(self, act: Callable[[], object]) -> None:
        """Have `act` called once nothing new is begun, by which a handler that runs for long comes to its end."""
        self._when_ending.append(act)

    @contextlib.asynccontextmanager
    async def running(self, *, grace_s: float = GRACE_S) -> AsyncIterator[None]:
        """Work while inside. On leaving nothing new is begun, and what runs gets `grace_s` to end."""
        self._is_running = True
        try:
            async with repeating(self._renew, name="work_renewal", every_s=RENEW_EVERY_S, rests_first=True):
                try:
                    async with repeating(self._look, name="due_work", every_s=self._until_woken):
                        try:
                            yield
                        finally:
                            self._is_running = False
                            for act in self._when_ending:
                                act()
                finally:
                    await self._come_to_an_end(grace_s)
        finally:
            if self._notifying is not None:
                await asyncio.wait({self._notifying})
            for timer in self._timers:
                timer.cancel()
            self._disconnect()

    async def _come_to_an_end(self, grace_s: float) -> None:
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def wake(self, work_class: WorkClass) -> None:
        """Have due work of a class looked at now: here, or by other processes when all slots are taken here."""
        if self._is_running and self._room(work_class):
            self._to_look.add(work_class)
            self._woken.set()
            return
        self._to_notify.add(work_class)
        if self._notifying is None or self._notifying.done():
            self._notifying = detached(self._notify(), name="work_notification")

    async def once(self) -> int:
        """Work on what is due now, to its end, and return how many rows that were. For tests and commands."""
        before = set(self._running)
        taken = 0
        for kind in self._kinds:
            taken += await self._claim(kind)
        begun = set(self._running) - before
        if begun:
            await asyncio.wait(begun)
        return taken

    def _room(self, work_class: WorkClass) -> int:
        return SLOTS[work_class] - self._taken[work_class]

    async def _look(self) -> None:
        """Begin what is due: of all kinds at each poll, between two of those that somebody woke us for."""
        now = asyncio.get_running_loop().time()
        classes, self._to_look = self._to_look, set()
        due: list[WorkKind] = [kind for kind in self._kinds if kind.work_class in classes]
        if now >= self._poll_at:
            self._poll_at = now + POLL_S
            due = await self._poll()
        await _for_each(due, self._claim)

    async def _until_woken(self) -> None:
        """Wait for who wakes us, and until the next poll at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._poll_at):
                await self._woken.wait()
        self._woken.clear()

    async def _poll(self) -> list[WorkKind]:
        """Return the kinds that have something due, and set a timer for what is due before the next poll."""
        with unavailable_as_service_error():
            try:
                connection = await self._connected()
                row = await connection.fetchrow(self._next_due, *self._arguments())
            except DRIVER_ERRORS:
                self._disconnect()
                raise
        due = []
        for kind in self._kinds:
            wait_s = row[kind.name]
            if wait_s is None:
                continue
            if wait_s <= 0:
                due.append(kind)
            elif wait_s < POLL_S:
                self._look_in(kind.work_class, wait_s)
        return due

    async def _claim(self, kind: WorkKind) -> int:
        """Begin as much due work of a kind as there are slots for."""
        room = self._room(kind.work_class)
        if room <= 0:
            self._to_look.add(kind.work_class)  # looked at when a slot is free
            return 0
        shift, *tenants = self._arguments()
        taken = self._taken_by_turn(kind)
        async with self._held.statement(f"{kind.name}.claim") as connection:
            rows = await connection.fetch(self._claims[kind], shift, room, *taken, *tenants)
        for row in rows:
            work = Work(
                kind=kind,
                tenant_id=row["tenant_id"],
                key=tuple(row[column] for column in kind.key),
                fence=row["fence"],
                failures=row["failures"],
                trace_context=row["trace_context"],
            )
            if row["lapses"]:
                _logger.warning("the lease of %s ran out %d times in a row", work.name, row["lapses"])
            self._taken[kind.work_class] += 1
            task = detached(self._work(work), name="work")
            self._running[task] = work
            task.add_done_callback(self._ended)
        if len(rows) == room or (kind.turns is not None and (rows or taken[0])):
            self._to_look.add(kind.work_class)  # there may be more; it is looked at when a slot, or a turn, is free
        return len(rows)

    def _taken_by_turn(self, kind: WorkKind) -> list[list[Any]]:
        """Return of what takes turns, by tenant, how many rows are worked on here; nothing where nothing does."""
        if kind.turns is None:
            return []
        taken = Counter((work.tenant_id, work.key[0]) for work in self._running.values() if work.kind is kind)
        return [[tenant for tenant, _ in taken], [turn for _, turn in taken], list(taken.values())]

    def _ended(self, task: asyncio.Task[None]) -> None:
        work_class = self._running.pop(task).kind.work_class
        self._taken[work_class] -= 1
        if work_class in self._to_look:
            self._woken.set()

    async def _work(self, work: Work) -> None:
        try:
            with call_context.following(
                work.tenant_id, origin=work.trace_context, name=f"work {work.kind.name}", kind=Kind.CONSUMER
            ) as said:
                said["batzen.work"], said["batzen.attempt"] = work.kind.name, work.failures + 1
                said.update(await self._attempt(work))
        except asyncio.CancelledError:
            await self._write(work, statements.put_back(work.kind), timedelta(0))
        except Exception:
            _logger.exception("%s could not be released; it is due when its lease ends", work.name)

    async def _attempt(self, work: Work) -> dict[str, Value]:
        """Work on a row once, release it, and return what its span says of how that went."""
        kind = work.kind
        try:
            await kind.handler(work)
        except RetryLater as later:
            self._metrics.ran(kind.name, Outcome.LATER)
            await self._write(work, statements.put_back(kind), later.delay)
            self._look_in(kind.work_class, later.delay.total_seconds())
            return {"batzen.outcome": "LATER"}
        except Exception as error:  # noqa: BLE001 whatever it is, it is written down and the others go on
            if _is_database_away(error):
                _logger.warning("%s waits for the database: %s", work.name, error)
                self._metrics.ran(kind.name, Outcome.AWAY)
                await self._write(work, statements.put_back(kind), jittered(AWAY_DELAY))
                return {"batzen.outcome": "DATABASE_AWAY"}
            await self._failed(work, error)
            return {"batzen.outcome": "FAILED", "error.type": type(error).__name__}
        self._metrics.ran(kind.name, Outcome.DONE)
        if not kind.handler_releases and await self._write(work, statements.finish(kind)):
            self.wake(kind.work_class)  # more came meanwhile
        return {"batzen.outcome": "DONE"}

    async def _failed(self, work: Work, error: Exception) -> None:
        problem = problem_of(error)
        delay = work.kind.retry.delay(work.failures + 1)
        if delay is not None:
            delay = jittered(delay)
        is_dead = await self._write(work, statements.fail(work.kind), delay, problem)
        self._metrics.ran(work.kind.name, Outcome.DEAD if is_dead else Outcome.FAILED)
        fields = {"event": "work.dead" if is_dead else "work.failed", "work": work.name, "problem": problem}
        _logger.log(
            logging.ERROR if is_dead else logging.WARNING,
            "%s failed%s",
            work.name,
            " for the last time" if is_dead else f" {work.failures + 1} times",
            exc_info=error,
            extra={"fields": fields},
        )

    async def _write(self, work: Work, statement: str, *arguments: object) -> Any:
        """Release a row; None if it is another's by now, or if the database is away: it is due when its lease ends."""
        try:
            async with self._held.statement(f"{work.kind.name}.end") as connection:
                return await connection.fetchval(
                    statement, self._clock.shift, work.tenant_id, work.fence, *arguments, *work.key
                )
        except DependencyUnavailable as error:
            _logger.warning("%s is due when its lease ends: %s", work.name, error)
            return None

    async def _renew(self) -> None:
        """Hold what takes long."""
        await _for_each(self._kinds, self._renew_kind)

    async def _renew_kind(self, kind: WorkKind) -> None:
        """Do so for all rows of a kind, by one statement."""
        mine = [work for work in self._running.values() if work.kind is kind and not kind.handler_releases]
        if not mine:
            return
        keys = [list(column) for column in zip(*(work.key for work in mine), strict=True)]
        arguments = ([work.tenant_id for work in mine], [work.fence for work in mine], *keys)
        async with self._held.statement(None) as connection:
            await connection.execute(statements.renew(kind), self._clock.shift, *arguments)

    def _look_in(self, work_class: WorkClass, delay_s: float) -> None:
        """Look at a class again when a row of it that was just seen will be due."""
        if delay_s >= POLL_S:
            return

        def look() -> None:
            self._timers.discard(timer)
            self._to_look.add(work_class)
            self._woken.set()

        timer = asyncio.get_running_loop().call_later(delay_s, look)
        self._timers.add(timer)

    async def _notify(self) -> None:
        """Wake other processes: once for all that came until the connection was there."""
        try:
            async with self._held.statement(None) as connection:
                classes, self._to_notify = self._to_notify, set()
                await connection.execute("SELECT pg_notify($1, c) FROM unnest($2::text[]) c", CHANNEL, list(classes))
        except DependencyUnavailable:
            _logger.debug("other processes are not woken; they look by themselves")

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        with contextlib.suppress(ValueError):  # a class of a later release
            self._to_look.add(WorkClass(payload))
            self._woken.set()

    async def _connected(self) -> asyncpg.Connection:
        if self._listener is None or self._listener.is_closed():
            self._listener = await connect_held(self._url, application_name=f"{self._application_name}-work")
            await self._listener.add_listener(CHANNEL, self._heard)
        return self._listener

    def _disconnect(self) -> None:
        if self._listener is not None:
            self._listener.terminate()
            self._listener = None

    def _arguments(self) -> list[object]:
        return [self._clock.shift, *([self._tenants] if self._tenants is not None else [])]


async def _for_each(kinds: Iterable[WorkKind], act: Callable[[WorkKind], Awaitable[object]]) -> None:
    """Act for each kind, also after one failed: none of them waits for another. Raises the first failure then."""
    failure: Exception | None = None
    for kind in kinds:
        try:
            await act(kind)
        except Exception as error:  # noqa: BLE001 raised below
            failure = failure or error
    if failure is not None:
        raise failure


def _is_database_away(error: Exception) -> bool:
    if isinstance(error, DependencyUnavailable):
        return error.metadata.get("dependency") == "database"
    return isinstance(error, DRIVER_ERRORS) and is_unavailable(error)

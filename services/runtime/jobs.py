"""Background work: jobs that exist exactly when the transaction that makes them true has committed.

A job is at least once: its handler must be idempotent and may run twice, even at the same time after a stall. It is
tried again by its kind's `RetryPolicy`, and then kept as dead, with its error, until someone replays it. The engine is
pgqueuer; `worker` runs it, and `jobs_schema.sql` is the migration that a service copies.

`run_after` counts on the database's clock. A due time that means something to the business belongs in a table of the
service, under its own clock, and is swept.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from pgqueuer.adapters.persistence.qb import QueryQueueBuilder
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.errors import DependencyUnavailable
from services.runtime import calls
from services.runtime.database import after_commit, reading, transaction

PAYLOAD_BYTES_MAX = 8_192
"""A job names what to work on; what it works with is in the tables."""
DEAD_JOBS_MAX = 1_000
"""Dead jobs listed at once."""
JITTER = 0.2
"""Part of a delay that is random, so that what failed together is not tried again together."""

log = logging.getLogger(__name__)


class JobClass(StrEnum):
    """Each has workers and a limit of its own, so that a flood of one delays none of the others."""

    MONEY = "money"
    EVENTS = "events"
    SWEEPS = "sweeps"
    NOTIFICATIONS = "notifications"


class Backoff(StrEnum):
    EXPONENTIAL = "exponential"
    """Doubles with each failure."""
    LINEAR = "linear"
    """Grows by the first delay with each failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a job is tried, and how long it rests in between."""

    tries_max: int | None
    """None: until it succeeds."""
    first_delay: timedelta
    backoff: Backoff = Backoff.EXPONENTIAL
    delay_max: timedelta = timedelta(minutes=5)

    def delay(self, failures: int) -> timedelta | None:
        """Return the rest after that many failures, the last included, without jitter; None if that was the last."""
        if self.tries_max is not None and failures >= self.tries_max:
            return None
        # The exponent has a bound, or the power of a job that is tried for days no longer fits a number.
        factor = failures if self.backoff is Backoff.LINEAR else 2 ** min(failures - 1, 30)
        return min(self.first_delay * factor, self.delay_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """What is done, by which workers, and how often. Its `name` is stored with each job and never changes."""

    name: str
    job_class: JobClass
    retry: RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a job, as its handler sees it."""

    job_id: int
    tenant_id: str
    payload: Mapping[str, Any]
    attempt: int
    """From 1; runs that ended in `RetryLater` do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadJob:
    """A job that was tried for the last time."""

    job_id: int
    kind: str
    tenant_id: str
    correlation_id: str | None
    payload: Mapping[str, Any]
    tries: int
    error: str
    dead_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """How many jobs there are, of every tenant."""

    due: int
    """Wait for a worker."""
    later: int
    """Wait for their time."""
    running: int
    """Are being run; a job counts for up to 0.1 s after its end."""
    dead: int

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do, now or later, but for what is dead."""
        return not (self.due or self.later or self.running)


class RetryLater(Exception):
    """Raised by a handler: nothing failed, run me again after this delay."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__(f"again in {delay}")
        self.delay = delay


class JobQueue:
    """Enqueues jobs, and wakes the workers once they are committed.

    Leaving its block waits for a wake-up still on its way. A wake-up that is lost costs a second, no job.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._to_wake: set[JobClass] = set()
        self._waking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._waking is not None:
            await self._waking

    async def enqueue(
        self,
        connection: AsyncConnection,
        kind: JobKind,
        payload: Mapping[str, Any],
        *,
        tenant_id: str,
        run_after: timedelta = timedelta(0),
        dedupe_key: str | None = None,
    ) -> bool:
        """Add a job to the transaction of `connection`, which must be one of `database.transaction`.

        False if a job of this kind and tenant with the same `dedupe_key` waits or runs already. That it runs already
        may mean that it has read what it works on: whoever must not miss a change keeps a wanted version beside the
        work, which the handler compares at its end. The correlation id of the current call goes with the job.
        """
        encoded = json.dumps(payload, separators=(",", ":")).encode()
        if len(encoded) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"The payload of {kind.name} has more than {PAYLOAD_BYTES_MAX} bytes.")
        after_commit(connection, lambda: self.wake(kind.job_class))
        headers = {"tenant_id": tenant_id, "correlation_id": calls.sane_correlation(calls.correlation_id())}
        key = None if dedupe_key is None else f"{tenant_id}/{kind.name}/{dedupe_key}"
        # Through SQLAlchemy, which begins the transaction; on its raw connection a first statement commits by itself.
        added = await connection.exec_driver_sql(
            _ENQUEUE, ([0], [kind.name], [encoded], [run_after], [key], [json.dumps(headers)])
        )
        return added.first() is not None

    def wake(self, job_class: JobClass) -> None:
        """Tell the workers of `job_class`, in every process, to look now. Wake-ups of one tick become one."""
        self._to_wake.add(job_class)
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        while self._to_wake:
            await asyncio.sleep(0)
            channels = [channel_of(job_class) for job_class in self._to_wake]
            self._to_wake.clear()
            try:
                async with reading(self._engine) as connection:
                    await connection.execute(_NOTIFY, {"channels": channels})
            except DependencyUnavailable:
                log.debug("workers not woken; they look by themselves")


async def queue_depth(engine: AsyncEngine) -> QueueDepth:
    """Count the jobs of one service."""
    async with reading(engine) as connection:
        row = (await connection.execute(_DEPTH)).one()
    return QueueDepth(due=row.due, later=row.later, running=row.running, dead=row.dead)


async def dead_jobs(engine: AsyncEngine, *, tenant_id: str, limit: int = 100) -> list[DeadJob]:
    """Return the dead jobs of a tenant, those that died last first; at most `DEAD_JOBS_MAX`."""
    async with reading(engine) as connection:
        found = await connection.execute(_DEAD, {"tenant_id": tenant_id, "limit": min(limit, DEAD_JOBS_MAX)})
        return [
            DeadJob(
                job_id=row.id,
                kind=row.entrypoint,
                tenant_id=tenant_id,
                correlation_id=row.correlation_id,
                payload=json.loads(row.payload),
                tries=row.attempts + 1,
                error=row.error or "unknown",
                dead_time=row.updated,
            )
            for row in found
        ]


async def replay(engine: AsyncEngine, job_ids: Sequence[int], *, tenant_id: str) -> list[int]:
    """Let dead jobs of a tenant run again now, with their tries counted anew; return those that were dead."""
    async with transaction(engine, "jobs.replay") as connection:
        replayed = await connection.scalars(_REPLAY, {"job_ids": list(job_ids), "tenant_id": tenant_id})
        return sorted(replayed)


def jittered(delay: timedelta) -> timedelta:
    return delay * random.uniform(1, 1 + JITTER)  # noqa: S311 spreads load, guards nothing


def channel_of(job_class: JobClass) -> Channel:
    return Channel(f"batzen_jobs_{job_class}")


def settings_of(job_class: JobClass = JobClass.EVENTS) -> DBSettings:
    """Return pgqueuer's names, each one given, since it reads variables as common as FUNCTION or TRIGGER otherwise."""
    return DBSettings(
        prefix="",
        db_schema=None,
        channel=channel_of(job_class),
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.durable,
        widen_id=True,
    )


_ENQUEUE = QueryQueueBuilder(settings_of()).build_enqueue_query("skip")

_NOTIFY = sa.text("""
    SELECT pg_notify(channel, json_build_object(
      'channel', channel, 'operation', 'insert', 'sent_at', now(), 'table', 'pgqueuer', 'type', 'table_changed_event'
    )::text)
    FROM unnest(CAST(:channels AS text[])) AS channel
""")

_DEPTH = sa.text("""
    SELECT count(*) FILTER (WHERE status = 'queued' AND execute_after <= now()) AS due,
           count(*) FILTER (WHERE status = 'queued' AND execute_after > now()) AS later,
           count(*) FILTER (WHERE status = 'picked') AS running,
           count(*) FILTER (WHERE status = 'failed') AS dead
    FROM pgqueuer
""")

_DEAD = sa.text("""
    SELECT job.id, job.entrypoint, job.headers->>'correlation_id' AS correlation_id, job.payload, job.attempts,
           job.updated, failure.error
    FROM pgqueuer AS job
    LEFT JOIN LATERAL (
      SELECT concat_ws(': ', traceback->>'exception_type', traceback->>'exception_message') AS error
      FROM pgqueuer_log
      WHERE job_id = job.id AND traceback IS NOT NULL
      ORDER BY created DESC, id DESC
      LIMIT 1
    ) AS failure ON true
    WHERE job.status = 'failed' AND job.headers->>'tenant_id' = :tenant_id
    ORDER BY job.updated DESC, job.id DESC
    LIMIT :limit
""")

# Without its key: another job of the same key may wait by now, and both are wanted.
_REPLAY = sa.text("""
    UPDATE pgqueuer
    SET status = 'queued', execute_after = now(), updated = now(), attempts = 0, crashes = 0, dedupe_key = NULL
    WHERE id = ANY(:job_ids) AND status = 'failed' AND headers->>'tenant_id' = :tenant_id
    RETURNING id
""")

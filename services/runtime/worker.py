"""Runs the jobs of one service inside its process: pgqueuer's loop per job class, made safe to stop and to cut off.

What pgqueuer 1.6.0 would do otherwise: delete a job whose run is cancelled, stop for good when its connection breaks,
and pick a job that kills its worker for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import asyncpg
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.executors import AbstractEntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import models
from pgqueuer.domain.errors import RetryRequested

from services.runtime import calls
from services.runtime.job_connection import PersistentDriver, within
from services.runtime.jobs import Job, JobClass, JobKind, RetryLater, channel_of, jittered, settings_of

LIMITS: Final[Mapping[JobClass, int]] = {
    JobClass.MONEY: 20,
    JobClass.EVENTS: 20,
    JobClass.SWEEPS: 4,
    JobClass.NOTIFICATIONS: 8,
}
"""Jobs of a class that one process runs at once; mostly they wait for another process."""
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=5)
"""After this long without a sign of life a job is given to another worker."""
POLL_INTERVAL: Final = timedelta(seconds=1)
"""How late a job may start if the notification for it is lost."""
RESTART_S: Final = 1.0
"""Rest before a worker that broke by a bug begins again."""
GRACE_S: Final = 10.0
"""How long a job may finish when the process stops; afterwards it is given back."""
GIVE_BACK_S: Final = 3.0
"""How long the database may take to hear which jobs are given back; what it does not hear it finds by the heartbeat."""
PURGE_INTERVAL_S: Final = 3_600.0
FAILURES_KEPT: Final = timedelta(days=90)
"""As long as the raw bodies of what caused them."""

Handler = Callable[[Job], Awaitable[None]]

log = logging.getLogger(__name__)
logging.getLogger("pgqueuer").setLevel(logging.WARNING)  # a retry is our line to write


class WorkerDied(Exception):
    """Workers died while they ran this job, too often to try again."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@contextlib.asynccontextmanager
async def running_worker(
    url: str, *, handlers: Mapping[JobKind, Handler], application_name: str, grace_s: float = GRACE_S
) -> AsyncIterator[Worker]:
    """Run the jobs of `handlers` while inside. On leaving, no new one starts and those running get `grace_s` to end."""
    worker = Worker(url, handlers=handlers, application_name=application_name)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.drain(grace_s=grace_s)
        await task


class Worker:
    """Runs jobs of some kinds; kinds without a handler here wait for a process that has one.

    A connection of its own, made again when it breaks: what pgqueuer asks of the database waits meanwhile.
    """

    def __init__(self, url: str, *, handlers: Mapping[JobKind, Handler], application_name: str) -> None:
        self._handlers = handlers
        self._draining = asyncio.Event()
        self._gone = asyncio.Event()
        self._ended = asyncio.Event()
        self._running: set[asyncio.Task[Any]] = set()
        self._managers: dict[JobClass, QueueManager] = {}
        self._driver = PersistentDriver(url, application_name=application_name, given_up=self._gone)

    async def run(self) -> None:
        """Run jobs until `drain` is called."""
        classes = {kind.job_class for kind in self._handlers}
        try:
            async with asyncio.TaskGroup() as group:
                for job_class in classes:
                    group.create_task(self._run_class(job_class))
                group.create_task(self._purge())
        finally:
            await self._driver.close()
            self._ended.set()

    async def drain(self, *, grace_s: float = GRACE_S) -> None:
        """Start no more jobs, let those that run end within `grace_s`, and give the rest to other workers."""
        self._draining.set()
        for manager in self._managers.values():
            manager.shutdown.set()
        if not await within(self._ended, grace_s):
            for task in list(self._running):
                task.cancel()
            if not await within(self._ended, GIVE_BACK_S):
                self._gone.set()
        await self._ended.wait()

    async def _run_class(self, job_class: JobClass) -> None:
        while not self._draining.is_set():
            manager = self._manager(job_class)
            self._managers[job_class] = manager
            limit = LIMITS[job_class]
            try:
                await manager.run(
                    dequeue_timeout=POLL_INTERVAL,
                    batch_size=limit // 2,  # pgqueuer wants at most half
                    max_concurrent_tasks=limit,
                    heartbeat_timeout=HEARTBEAT_TIMEOUT,
                    log_aggregation_interval=timedelta(0),
                )
            except Exception:
                if not self._gone.is_set():
                    log.exception("worker broke", extra={"fields": {"event": "worker.broke", "job_class": job_class}})
                    await within(self._draining, RESTART_S)

    def _manager(self, job_class: JobClass) -> QueueManager:
        settings = settings_of(job_class)
        queries = _Queries(
            self._driver,
            qbe=QueryBuilderEnvironment(settings),
            qbq=QueryQueueBuilder(settings),
            qbs=QuerySchedulerBuilder(settings),
        )
        manager = QueueManager(queries, channel=channel_of(job_class))
        for kind, handler in self._handlers.items():
            if kind.job_class is job_class:
                manager.register_executor(
                    kind.name, _Executor(kind, handler=handler, running=self._running, draining=self._draining)
                )
        return manager

    async def _purge(self) -> None:
        while not self._draining.is_set():
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # an hour later, then
                await self._driver.execute(
                    "DELETE FROM pgqueuer_log WHERE created < now() - $1::interval", FAILURES_KEPT
                )
            await within(self._draining, PURGE_INTERVAL_S)


class _GivenBack(RetryRequested):
    """The job is to run again without counting as failed."""


class _Executor(AbstractEntrypointExecutor):
    """One kind's handler, with its policy, its tenant and its correlation id around it."""

    def __init__(
        self, kind: JobKind, *, handler: Handler, running: set[asyncio.Task[Any]], draining: asyncio.Event
    ) -> None:
        super().__init__(EntrypointExecutorParameters(concurrency_limit=0, func=_never_called, on_failure="hold"))
        self._kind = kind
        self._handler = handler
        self._running = running
        self._draining = draining

    async def execute(self, job: models.Job, context: models.Context) -> None:
        if job.status == "failed":  # so said the trigger that counts crashes, as this worker picked it
            self._log("job.dead", job, error=WorkerDied.__name__)
            raise WorkerDied
        if self._draining.is_set():  # it was being picked as the worker was told to stop
            raise _GivenBack(reason="the worker stops")
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 pgqueuer runs each job as a task
        self._running.add(task)
        headers = job.headers or {}
        try:
            with calls.acting_for(str(headers["tenant_id"]), correlation=str(headers["correlation_id"])):
                await self._attempt(job, tenant_id=str(headers["tenant_id"]))
        except asyncio.CancelledError:
            task.uncancel()  # the job is given back by this same task
            raise _GivenBack(reason="the worker stops") from None
        finally:
            self._running.discard(task)

    async def _attempt(self, job: models.Job, *, tenant_id: str) -> None:
        payload = json.loads(job.payload or b"{}")
        try:
            await self._handler(Job(job_id=job.id, tenant_id=tenant_id, payload=payload, attempt=job.attempts + 1))
        except RetryLater as later:
            raise _GivenBack(delay=later.delay) from None
        except Exception as error:
            delay = self._kind.retry.delay(job.attempts + 1)
            name = type(error).__name__
            if delay is None:
                self._log("job.dead", job, error=name)
                raise
            self._log("job.retried", job, error=name)
            raise RetryRequested(delay=jittered(delay), reason=f"{name}: {error}") from error

    def _log(self, event: str, job: models.Job, *, error: str) -> None:
        fields = {
            "event": event,
            "kind": self._kind.name,
            "job_id": job.id,
            "attempt": job.attempts + 1,
            "error": error,
        }
        log.warning(event, extra={"fields": fields})


async def _never_called(_: models.Job) -> None:
    raise AssertionError("our executor calls its handler itself")


class _Queries(Queries):
    async def retry_job(
        self, job: models.Job, delay: timedelta, traceback_record: models.TracebackRecord | None
    ) -> None:
        """Queue the job again, unless another worker has taken it over; only a failure counts and is logged."""
        given_back = traceback_record is None or traceback_record.exception_type == _GivenBack.__name__
        failure = None if given_back or traceback_record is None else traceback_record.model_dump_json()
        failures = 0 if given_back else 1
        await self.driver.execute(_RETRY, job.id, delay, failures, job.queue_manager_id, failure)


_RETRY = """
    WITH again AS (
      UPDATE pgqueuer
      SET status = 'queued', execute_after = now() + $2::interval, attempts = attempts + $3::int, updated = now(),
          queue_manager_id = NULL
      WHERE id = $1::bigint AND status = 'picked' AND queue_manager_id = $4::uuid
      RETURNING id, entrypoint, priority
    )
    INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority, traceback)
    SELECT id, 'queued', entrypoint, priority, $5::jsonb FROM again
"""

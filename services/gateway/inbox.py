"""Stripe's events from their arrival to what they make true: stored raw, worked on by a job, never lost.

An event is stored with the job that works on it, in one transaction, so it is either both or sent again by Stripe. A
second arrival of the same event changes nothing, unless the first was put aside and this one is where it belongs. What
an event leads to depends on the mirror and not on the event: it may run twice, late, or after a newer one.

The events of one subject (an intent, an account) are worked on together: while a run of a subject exists, a new event
joins it instead of starting another. A run ends only if nothing has joined since its job last looked; so one reading at
Stripe covers all events that waited for it, and none is forgotten. An event that shows what the mirror shows is done at
once, without a job.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from services.errors import Aborted, ResourceExhausted, ServiceError, Unavailable
from services.gateway import events, news, waiting
from services.gateway.domain import IntentNotFound
from services.gateway.events import Action, Event
from services.gateway.observer import Observer
from services.gateway.sellers import Sellers
from services.runtime.database import HeldConnections, transaction
from services.runtime.jobs import Job, JobClass, JobKind, JobQueue, RetryLater, RetryPolicy

PROCESS: Final = JobKind(
    name="events",
    job_class=JobClass.EVENTS,
    retry=RetryPolicy(tries_max=12, first_delay=timedelta(seconds=1), delay_max=timedelta(minutes=1)),
)
EARLY_MAX: Final = timedelta(minutes=10)
"""How long an event waits for its payment: a call of ours that makes it is settled long before."""
EVENTS_AT_ONCE_MAX: Final = 50
"""Of one subject, read together; a payment has about ten in all."""
ROUNDS_MAX: Final = 20
"""Looks of one job at a subject whose events keep coming, before others have their turn."""
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)
"""What Stripe, the database or another call on the same payment raises for now: no failure of the event."""

_logger = logging.getLogger(__name__)


class PaymentUnknown(Exception):
    """An event claims a payment of ours that is not here."""


class Receipt(enum.Enum):
    """What became of an arrival."""

    ACCEPTED = "ACCEPTED"
    """Stored, and worked on soon."""
    KNOWN = "KNOWN"
    """Stored; the mirror shows it already."""
    DUPLICATE = "DUPLICATE"
    """It was here before, and this arrival adds nothing."""
    IGNORED = "IGNORED"
    """Stored; it says nothing that we need."""
    PARKED = "PARKED"
    """Stored for a person to look at: it does not belong here."""


STATES: Final = {
    Receipt.ACCEPTED: "WAITING",
    Receipt.KNOWN: "DONE",
    Receipt.IGNORED: "IGNORED",
    Receipt.PARKED: "PARKED",
}
"""In which an event is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What waits of one subject, the oldest first."""

    wanted: int
    """How many events have joined."""
    waiting: tuple[Event, ...]
    since: datetime
    """When the one that waits for the longest was received."""
    is_whole: bool
    """Nothing waits but these."""


class Inbox:
    """Stores events and works on them."""

    def __init__(
        self,
        engine: AsyncEngine,
        held: HeldConnections,
        queue: JobQueue,
        observer: Observer,
        sellers: Sellers,
        *,
        api_version: str,
        livemode: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._held = held
        self._queue = queue
        self._observer = observer
        self._sellers = sellers
        self._api_version = api_version
        self._livemode = livemode
        self._now = now

    async def receive(self, event: Event, *, body: bytes, tenant_id: str, is_connect: bool, now: datetime) -> Receipt:
        """Store a verified event. Raises `DependencyUnavailable` when it could not be stored."""
        note = self._misplaced(event, is_connect=is_connect)
        if note:
            receipt = Receipt.PARKED
        elif event.action is Action.OPERATOR:
            receipt, note = Receipt.PARKED, "needs an operator"
            _logger.error("an operator is needed", extra={"fields": {"type": event.type, "event_id": event.event_id}})
        elif event.action is Action.IGNORE:
            receipt = Receipt.IGNORED
        elif await self._is_known(tenant_id, event):
            receipt = Receipt.KNOWN
        else:
            receipt = Receipt.ACCEPTED
        row = (
            tenant_id, event.event_id, event.type, event.account, event.api_version, event.subject, body,
            STATES[receipt], note, event.create_time, now, None if receipt is Receipt.ACCEPTED else now,
        )  # fmt: skip
        if receipt is Receipt.ACCEPTED:
            is_stored = await self._store_with_job(tenant_id, row)
        else:
            async with self._held.statement("webhook.store") as connection:
                is_stored = await connection.fetchval(_STORE, *row) is not None
        return receipt if is_stored else Receipt.DUPLICATE

    async def process(self, job: Job) -> None:
        """Bring the mirror up to the events that wait for one subject, and mark them done."""
        subject = str(job.payload["subject"])
        for _ in range(ROUNDS_MAX):
            run = await self._run(job.tenant_id, subject)
            if run is None:  # another job was here
                return
            note = ""
            if run.waiting:
                try:
                    note = await self._apply(job.tenant_id, run)
                except AWAY as error:
                    self._rest(run, error)
                    raise
            if await self._end(job.tenant_id, subject, run, note=note):
                return
        raise RetryLater(waiting.REST_MIN)

    async def _store_with_job(self, tenant_id: str, row: tuple[object, ...]) -> bool:
        async with transaction(self._engine, "webhook.store") as connection:
            joined = (await connection.exec_driver_sql(_STORE_AND_JOIN, row)).one_or_none()
            if joined is None:
                return False
            # One job per run, however many events join; another one if that job died.
            await self._queue.enqueue(
                connection, PROCESS, {"subject": joined.subject}, tenant_id=tenant_id, dedupe_key=str(joined.run_id)
            )
        return True

    async def _is_known(self, tenant_id: str, event: Event) -> bool:
        if event.action is Action.ACCOUNT or event.api_version != self._api_version:
            return False
        held = await self._observer.mirror_of(tenant_id, event.subject)
        return held is not None and news.is_known(held, event.object)

    async def _run(self, tenant_id: str, subject: str) -> _Run | None:
        async with self._held.statement(None) as connection:
            rows: list[asyncpg.Record] = await connection.fetch(_RUN, tenant_id, subject, EVENTS_AT_ONCE_MAX + 1)
        if not rows:
            return None
        found = [row for row in rows[:EVENTS_AT_ONCE_MAX] if row["body"] is not None]
        return _Run(
            wanted=rows[0]["wanted"],
            waiting=tuple(events.read(row["body"]) for row in found),
            since=min((row["receive_time"] for row in found), default=self._now()),
            is_whole=len(rows) <= EVENTS_AT_ONCE_MAX,
        )

    async def _end(self, tenant_id: str, subject: str, run: _Run, *, note: str) -> bool:
        """Mark what was done, and end the run; False if more has joined."""
        done = [event.event_id for event in run.waiting]
        state = "IGNORED" if note else "DONE"
        wanted = run.wanted if run.is_whole else None
        async with self._held.statement("webhook.done") as connection:
            ended = await connection.fetchval(_END, tenant_id, subject, done, state, note, self._now(), wanted)
        return ended is not None

    async def _apply(self, tenant_id: str, run: _Run) -> str:
        """Make true what the events of a run say; returns why nothing was done, or nothing."""
        if run.waiting[0].action is Action.ACCOUNT:
            is_ours = await self._sellers.read_again(tenant_id, run.waiting[0].subject)
            return "" if is_ours else "no seller of ours"
        payment_id = await self._payment_of(tenant_id, run.waiting)
        if payment_id is None:
            return self._early(run)
        try:
            await self._notice(tenant_id, payment_id, run.waiting)
            snapshots = [event for event in run.waiting if event.action is not Action.NOTICE]
            if not await self._advance(tenant_id, payment_id, snapshots):
                await self._observer.resync(
                    tenant_id,
                    payment_id,
                    origin=f"webhook {snapshots[-1].type}",
                    with_disputes=any(event.action is Action.DISPUTE for event in snapshots),
                )
        except IntentNotFound:
            return self._early(run)
        return ""

    async def _advance(self, tenant_id: str, payment_id: str, snapshots: Sequence[Event]) -> bool:
        """Apply snapshots, the oldest first, while each only takes its intent further; False asks for a reading."""
        if any(one.action is not Action.SNAPSHOT or one.api_version != self._api_version for one in snapshots):
            return False
        for event in snapshots:
            origin = f"webhook {event.type}"
            seen = await self._observer.observe(tenant_id, payment_id, event.object, origin=origin)
            if seen is None:
                return False
        return True

    async def _notice(self, tenant_id: str, payment_id: str, waiting_events: Sequence[Event]) -> None:
        """Bring to an operator what nothing is done about."""
        for event in waiting_events:
            if event.action is Action.NOTICE:
                await self._observer.notice(
                    tenant_id,
                    payment_id,
                    event.object,
                    event.type,
                    is_over=event.is_over,
                    origin=f"webhook {event.type}",
                )

    async def _payment_of(self, tenant_id: str, waiting_events: Sequence[Event]) -> str | None:
        for stripe_id in dict.fromkeys(one for event in waiting_events for one in events.stripe_ids(event.object)):
            payment_id = await self._observer.payment_of(tenant_id, stripe_id)
            if payment_id is not None:
                return payment_id
        return None

    def _early(self, run: _Run) -> str:
        """Wait for a payment that a call of ours is just making; give up on what is nobody's of ours.

        What is ours says so in its metadata from the moment it exists; what it says is not believed further than this.
        """
        waited = self._now() - run.since
        rest = waiting.rest(waited)
        if waited < EARLY_MAX and rest is not None:
            raise RetryLater(rest)
        for event in run.waiting:
            claimed = (event.object.get("metadata") or {}).get("payment_id")
            if claimed:
                raise PaymentUnknown(f"{event.type} {event.subject} claims {claimed}")
        return "no payment of ours"

    def _rest(self, run: _Run, error: ServiceError) -> None:
        """Have the run looked at again later; returns when it has waited for so long that this counts as a failure."""
        rest = waiting.rest(self._now() - run.since)
        if rest is not None:
            fields = {"subject": run.waiting[0].subject, "reason": error.reason}
            _logger.info("events wait", extra={"fields": fields})
            raise RetryLater(rest) from error

    def _misplaced(self, event: Event, *, is_connect: bool) -> str:
        if event.livemode is not self._livemode:
            return "wrong livemode"
        if (event.account is not None) is not is_connect:
            return "wrong endpoint"
        if event.action is Action.ACCOUNT and event.subject != event.account:
            return "wrong account"
        return ""


_STORE: Final = """
    INSERT INTO events (tenant_id, event_id, type, account, api_version, subject, body, state, note, create_time,
        receive_time, done_time)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT ON CONSTRAINT events_pkey DO UPDATE SET
        type = excluded.type, account = excluded.account, api_version = excluded.api_version,
        subject = excluded.subject, body = excluded.body, state = excluded.state, note = excluded.note,
        create_time = excluded.create_time, receive_time = excluded.receive_time, done_time = excluded.done_time
    WHERE (events.state = 'PARKED' AND excluded.state <> 'PARKED')
        OR (events.state = 'IGNORED' AND events.note = '' AND excluded.state IN ('WAITING', 'DONE'))
    RETURNING tenant_id, subject
"""
"""Nothing is stored twice; but one that was put aside where it arrived first (at the wrong endpoint, under the wrong
key, by a release that did not know its type) and never worked on is taken over by an arrival that is to be worked on.
"""

_STORE_AND_JOIN: Final = f"""
    WITH stored AS ({_STORE})
    INSERT INTO event_runs (tenant_id, subject, wanted)
    SELECT tenant_id, subject, 1 FROM stored
    ON CONFLICT ON CONSTRAINT event_runs_pkey DO UPDATE SET wanted = event_runs.wanted + 1
    RETURNING subject, run_id
"""  # noqa: S608 our own statement

_RUN: Final = """
    SELECT run.wanted, event.body, event.receive_time
    FROM event_runs AS run
    LEFT JOIN events AS event
        ON event.tenant_id = run.tenant_id AND event.subject = run.subject AND event.state = 'WAITING'
    WHERE run.tenant_id = $1 AND run.subject = $2
    ORDER BY event.create_time, event.receive_time
    LIMIT $3
"""

_END: Final = """
    WITH done AS (
        UPDATE events SET state = $4, note = $5, done_time = $6
        WHERE tenant_id = $1 AND event_id = ANY($3::text[]) AND state = 'WAITING')
    DELETE FROM event_runs WHERE tenant_id = $1 AND subject = $2 AND wanted = $7::bigint
    RETURNING wanted
"""

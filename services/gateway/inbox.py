"""Stripe's events from their arrival to what they make true: stored raw, worked on by a job, never lost.

An event is stored with the job that works on it, in one transaction, so it is either both or sent again by Stripe. A
second arrival of the same event changes nothing. What an event leads to depends on the mirror and not on the event: it
may run twice, late, or after a newer one.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.errors import RequestInProgress
from services.gateway import events
from services.gateway.domain import IntentNotFound
from services.gateway.events import Action, Event
from services.gateway.observer import Observer
from services.gateway.sellers import Sellers
from services.runtime.database import reading, transaction
from services.runtime.jobs import Job, JobClass, JobKind, JobQueue, RetryLater, RetryPolicy

PROCESS: Final = JobKind(
    name="event",
    job_class=JobClass.EVENTS,
    retry=RetryPolicy(tries_max=12, first_delay=timedelta(seconds=1), delay_max=timedelta(minutes=10)),
)
EARLY_REST: Final = timedelta(seconds=1)
"""Before an event whose payment is not known yet, or is being worked on, is looked at again."""
EARLY_MAX: Final = timedelta(minutes=10)
"""How long an event may wait for its payment: a call of ours that made it is settled long before."""

_logger = logging.getLogger(__name__)


class PaymentUnknown(Exception):
    """The event names a payment that is not here."""


class Receipt(enum.Enum):
    """What became of an arrival."""

    ACCEPTED = "ACCEPTED"
    """Stored, and worked on soon."""
    DUPLICATE = "DUPLICATE"
    """It was here before."""
    IGNORED = "IGNORED"
    """Stored; it says nothing that we need."""
    PARKED = "PARKED"
    """Stored for a person to look at: it does not belong here."""


class Inbox:
    """Stores events and works on them."""

    def __init__(
        self,
        engine: AsyncEngine,
        queue: JobQueue,
        observer: Observer,
        sellers: Sellers,
        *,
        api_version: str,
        livemode: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._observer = observer
        self._sellers = sellers
        self._api_version = api_version
        self._livemode = livemode
        self._now = now

    async def receive(self, event: Event, *, body: bytes, tenant_id: str, is_connect: bool, now: datetime) -> Receipt:
        """Store a verified event. Raises `DependencyUnavailable` when it could not be stored."""
        note = self._misplaced(event, is_connect=is_connect)
        receipt = Receipt.ACCEPTED
        if note:
            receipt = Receipt.PARKED
        elif event.action is Action.IGNORE:
            receipt = Receipt.IGNORED
        row = {
            "tenant_id": tenant_id,
            "event_id": event.event_id,
            "type": event.type,
            "account": event.account,
            "api_version": event.api_version,
            "subject": event.subject,
            "body": body,
            "state": "WAITING" if receipt is Receipt.ACCEPTED else receipt.value,
            "note": note,
            "create_time": event.create_time,
            "receive_time": now,
        }
        async with transaction(self._engine, "webhook.store") as connection:
            stored = (await connection.execute(_STORE, row)).one_or_none()
            if stored is None:
                return Receipt.DUPLICATE
            if receipt is Receipt.ACCEPTED:
                payload = {"event_id": event.event_id}
                await self._queue.enqueue(connection, PROCESS, payload, tenant_id=tenant_id)
        return receipt

    async def process(self, job: Job) -> None:
        """Do what an event makes us do, and mark it done."""
        key = {"tenant_id": job.tenant_id, "event_id": job.payload["event_id"]}
        async with reading(self._engine) as connection:
            row = (await connection.execute(_WAITING, key)).one_or_none()
        if row is None:  # done together with another event of the same payment
            return
        event = events.read(bytes(row.body))
        began = self._now()
        note = ""
        try:
            if event.action is Action.ACCOUNT:
                if not await self._sellers.account_updated(job.tenant_id, event.object, seen_time=event.create_time):
                    note = "no seller of ours"
            else:
                note = await self._apply(job.tenant_id, event, receive_time=row.receive_time)
        except RequestInProgress as busy:
            raise RetryLater(EARLY_REST) from busy
        async with transaction(self._engine, "webhook.done") as connection:
            await connection.execute(
                _DONE,
                key
                | {
                    "state": "IGNORED" if note else "DONE",
                    "note": note,
                    "now": self._now(),
                    # What arrived before a reading is covered by it.
                    "subject": event.subject,
                    "covered_until": began if event.action is Action.REREAD and not note else None,
                    "types": [name for name, action in events.ACTIONS.items() if action is Action.REREAD],
                },
            )

    async def _apply(self, tenant_id: str, event: Event, *, receive_time: datetime) -> str:
        """Bring the mirror up to an event; returns why nothing was done, or nothing."""
        payment_id = await self._payment_of(tenant_id, event)
        if payment_id is None:
            return await self._early(event, receive_time)
        origin = f"webhook {event.type}"
        try:
            if event.action is Action.SNAPSHOT and event.api_version == self._api_version:
                seen = await self._observer.observe(
                    tenant_id, payment_id, event.object, event_time=event.create_time, origin=origin
                )
                if seen is not None:
                    return ""
            await self._observer.resync(tenant_id, payment_id, origin=origin)
        except IntentNotFound:
            return await self._early(event, receive_time)
        return ""

    async def _payment_of(self, tenant_id: str, event: Event) -> str | None:
        for stripe_id in events.stripe_ids(event.object):
            payment_id = await self._observer.payment_of(tenant_id, stripe_id)
            if payment_id is not None:
                return payment_id
        return None

    async def _early(self, event: Event, receive_time: datetime) -> str:
        """Wait for a payment that a call of ours is just making; give up on what is nobody's of ours."""
        claims = (event.object.get("metadata") or {}).get("payment_id")
        if self._now() - receive_time < EARLY_MAX:
            raise RetryLater(EARLY_REST)
        if claims:
            raise PaymentUnknown(f"{event.type} {event.subject} claims {claims}")
        return "no payment of ours"

    def _misplaced(self, event: Event, *, is_connect: bool) -> str:
        if event.livemode is not self._livemode:
            return "wrong livemode"
        if (event.account is not None) is not is_connect:
            return "wrong endpoint"
        if event.action is Action.ACCOUNT and event.object.get("id") != event.account:
            return "wrong account"
        return ""


_STORE = sa.text("""
    INSERT INTO events (tenant_id, event_id, type, account, api_version, subject, body, state, note, create_time,
        receive_time)
    VALUES (:tenant_id, :event_id, :type, :account, :api_version, :subject, :body, :state, :note, :create_time,
        :receive_time)
    ON CONFLICT ON CONSTRAINT events_pkey DO NOTHING
    RETURNING event_id
""")

_WAITING = sa.text("""
    SELECT body, receive_time FROM events
    WHERE tenant_id = :tenant_id AND event_id = :event_id AND state = 'WAITING'
""")

_DONE = sa.text("""
    UPDATE events SET state = :state, note = :note, done_time = :now
    WHERE tenant_id = :tenant_id AND state = 'WAITING'
      AND (event_id = :event_id
           OR (subject = :subject AND receive_time < CAST(:covered_until AS timestamptz) AND type = ANY(:types)))
""")

"""Stripe's events from their arrival to what they make true: stored raw, worked on, never lost.

An event is stored with the row that makes it due, in one statement, so it is either both or sent again by Stripe. A
second arrival of the same event changes nothing, unless the first was put aside and this one is where it belongs. What
an event leads to depends on the mirror and not on the event: it may run twice, late, or after a newer one.

The events of one subject (an intent, an account) are worked on together: a subject is one row of work, which a new
event makes due (again). So one reading at Stripe covers all events that waited for it, and none is forgotten. An event
that shows what the mirror shows is done at once, without work.

One that cannot be applied holds up no other: those of other subjects are rows of their own, and those of the same one
are applied each by itself then. It alone is left, and is tried again with whatever comes next.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from services.errors import Aborted, ResourceExhausted, ServiceError, Unavailable
from services.gateway.call_log import backoff
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.sync import is_current
from services.gateway.sync.reader import MirrorReader
from services.gateway.webhooks import events, statements
from services.gateway.webhooks.bodies import Bodies, Sealed
from services.gateway.webhooks.effects import OF_NO_PAYMENT, Effects, PaymentUnknown, Run
from services.gateway.webhooks.events import Action, Event
from services.gateway.webhooks.metrics import OLDEST_OF_MAX, UNCOUNTED, WebhookMetrics
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, problem_of

RETRY: Final = RetryPolicy(tries_max=12, first_delay=timedelta(seconds=1), delay_max=timedelta(minutes=1))
EVENTS_AT_ONCE_MAX: Final = 50
"""Of one subject, read together; a payment has about ten in all."""
ROUNDS_MAX: Final = 20
"""Readings of events of one subject, before others have their turn."""
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)
"""What Stripe, the database or another call on the same payment raises for now: no failure of the event."""

NEEDS_OPERATOR: Final = "needs an operator"
"""The note of an event that was applied, and of which an operator has to decide what becomes of it."""

_logger = logging.getLogger(__name__)


class Receipt(enum.Enum):
    """What became of an arrival."""

    ACCEPTED = "ACCEPTED"
    """Stored, and worked on soon."""
    ALREADY_APPLIED = "ALREADY_APPLIED"
    """Stored; the mirror shows it already."""
    DUPLICATE = "DUPLICATE"
    """It was here before, and this arrival adds nothing."""
    IGNORED = "IGNORED"
    """Stored; it says nothing that we need."""
    PARKED = "PARKED"
    """Stored, and it needs an operator: it does not belong here."""


STATES: Final = {
    Receipt.ACCEPTED: "WAITING",
    Receipt.ALREADY_APPLIED: "DONE",
    Receipt.IGNORED: "IGNORED",
    Receipt.PARKED: "PARKED",
}
"""In which an event is stored."""


class Inbox:
    """Stores events and works on them."""

    def __init__(
        self,
        connections: DirectConnections,
        reader: MirrorReader,
        effects: Effects,
        bodies: Bodies,
        *,
        api_version: str,
        livemode: bool,
        clock: Clock,
        wake: Callable[[WorkClass], None],
        metrics: WebhookMetrics = UNCOUNTED,
    ) -> None:
        """`wake` is called when events became due."""
        self._connections = connections
        self._reader = reader
        self._effects = effects
        self._bodies = bodies
        self._api_version = api_version
        self._livemode = livemode
        self._clock = clock
        self._now = clock.now
        self._wake = wake
        self._metrics = metrics

    @property
    def work(self) -> WorkKind:
        """The subjects of which events wait."""
        return WorkKind(
            name="events",
            work_class=WorkClass.EVENTS,
            table="event_runs",
            key={"subject": "text"},
            retry=RETRY,
            handler=self.process,
            about=statements.FIRST_TYPE,
        )

    async def receive(self, event: Event, *, body: bytes, tenant_id: str, is_connect: bool, now: datetime) -> Receipt:
        """Store a verified event. Raises `DependencyUnavailable` when it could not be stored."""
        note = self._misplaced(event, is_connect=is_connect)
        payment: MirroredPayment | None = None
        if note:
            receipt = Receipt.PARKED
        elif event.action is Action.IGNORE:
            receipt = Receipt.IGNORED
        else:
            payment, is_shown = await self._payment_of(tenant_id, event)
            is_nothing = payment is not None and _says_nothing(payment, event)
            if payment is not None and is_shown and not is_nothing:
                return await self._receive_known(event, payment, body=body, now=now)
            receipt = Receipt.ALREADY_APPLIED if is_nothing else Receipt.ACCEPTED
        payer_id = payment.payer_id if payment is not None else self._payer_in_memory(tenant_id, event)
        sealed = await self._bodies.sealed(tenant_id, event, body, payer_id=payer_id)
        row = _row(event, receipt, tenant_id=tenant_id, note=note, sealed=sealed, now=now)
        if receipt is Receipt.ACCEPTED:
            async with self._connections.statement("webhook.store") as connection:
                is_stored = (
                    await connection.fetchval(
                        statements.STORE_AND_DEMAND, *row, self._clock.shift, call_context.origin()
                    )
                    is not None
                )
            self._wake(WorkClass.EVENTS)
        else:
            async with self._connections.statement("webhook.store") as connection:
                is_stored = await connection.fetchval(statements.STORE, *row) is not None
        return receipt if is_stored else Receipt.DUPLICATE

    async def _receive_known(self, event: Event, payment: MirroredPayment, *, body: bytes, now: datetime) -> Receipt:
        """Store an event that says what a payment was seen to say, as done if it still does and nobody works on it.

        If it was taken since, or set back by a restore, its fence is another: then the event waits, and is worked on.
        """
        sealed = await self._bodies.sealed(payment.tenant_id, event, body, payer_id=payment.payer_id)
        row = _row(event, Receipt.ALREADY_APPLIED, tenant_id=payment.tenant_id, note="", sealed=sealed, now=now)
        async with self._connections.statement("webhook.store") as connection:
            stored = await connection.fetchrow(
                statements.STORE_IF_KNOWN,
                *row,
                self._clock.shift,
                call_context.origin(),
                payment.payment_id,
                payment.fence,
            )
        if stored is None:
            return Receipt.DUPLICATE
        if stored["state"] == STATES[Receipt.ALREADY_APPLIED]:
            return Receipt.ALREADY_APPLIED
        self._wake(WorkClass.EVENTS)
        return Receipt.ACCEPTED

    async def process(self, work: Work) -> None:
        """Bring the mirror up to the events that wait for one subject, and mark them done."""
        (subject,) = work.key
        for _ in range(ROUNDS_MAX):
            run = await self._run(work.tenant_id, subject)
            if not run.waiting:
                return
            try:
                note = await self._effects.apply(work.tenant_id, run)
            except AWAY as error:
                self._rest(run, error)
                raise
            except (RetryLater, PaymentUnknown):
                raise  # says the same of all of them
            except Exception:
                await self._apply_each(work.tenant_id, run)
                raise
            await self._done(work.tenant_id, run, note=note)
            if run.is_whole:
                return
        raise RetryLater(backoff.REST_MIN)

    async def _apply_each(self, tenant_id: str, run: Run) -> None:
        """Bring the mirror up to those events of a run that can be applied, so that none waits for one that cannot.

        What an event leads to depends on the mirror and not on those before it, so none of them is applied wrongly.
        """
        if len(run.waiting) == 1:
            return
        for event in run.waiting:
            alone = replace(run, waiting=(event,))
            try:
                note = await self._effects.apply(tenant_id, alone)
            except Exception as error:  # noqa: BLE001 the failure of the run is raised, and tried again
                _logger.info(
                    "an event fails alone", extra={"fields": {"event_id": event.event_id, "error": problem_of(error)}}
                )
                continue
            await self._done(tenant_id, alone, note=note)

    async def _payment_of(self, tenant_id: str, event: Event) -> tuple[MirroredPayment | None, bool]:
        """Return the payment of an event, as this process saved it last, or read; and whether it says what that shows.

        None of an event that is of no payment, or shows it in words that are not ours.
        """
        if event.action in OF_NO_PAYMENT or event.api_version != self._api_version:
            return None, False
        payment = self._reader.recent_of(tenant_id, event.subject)
        is_shown = payment is not None and _is_current(payment, event)
        # A charge is booked once: what this process has not heard of that no other has, but for a moment.
        if payment is None or not (is_shown or event.action is Action.BOOKED):
            payment = await self._reader.mirror_of(tenant_id, event.subject)
            is_shown = payment is not None and _is_current(payment, event)
        if payment is not None:
            call_context.about(payment.payment_id, origin=payment.trace_context)
        return payment, is_shown

    def _payer_in_memory(self, tenant_id: str, event: Event) -> str | None:
        payment = self._reader.recent_of(tenant_id, event.subject)
        return payment.payer_id if payment is not None else None

    async def _run(self, tenant_id: str, subject: str) -> Run:
        async with self._connections.statement(None) as connection:
            rows: list[asyncpg.Record] = await connection.fetch(
                statements.WAITING, tenant_id, subject, EVENTS_AT_ONCE_MAX + 1
            )
        found = rows[:EVENTS_AT_ONCE_MAX]
        return Run(
            waiting=tuple([await self._read(tenant_id, row) for row in found]),
            since=min((row["receive_time"] for row in found), default=self._now()),
            is_whole=len(rows) <= EVENTS_AT_ONCE_MAX,
        )

    async def _read(self, tenant_id: str, row: asyncpg.Record) -> Event:
        body = await self._bodies.opened(tenant_id, row)
        if body is not None:
            return events.read(body)
        return events.without_body(
            event_id=row["event_id"],
            event_type=row["type"],
            account=row["account"],
            livemode=self._livemode,
            create_time=row["create_time"],
            subject=row["subject"],
        )

    async def _done(self, tenant_id: str, run: Run, *, note: str) -> None:
        """Mark what was done, and put what it has of a person under that payer's key."""
        aside = [] if note else [event for event in run.waiting if event.needs_operator]
        for event in aside:
            _logger.error(NEEDS_OPERATOR, extra={"fields": {"type": event.type, "event_id": event.event_id}})
        if aside:
            await self._end(tenant_id, aside, state="PARKED", note=NEEDS_OPERATOR)
        done = [event for event in run.waiting if event not in aside]
        if done:
            await self._end(tenant_id, done, state="IGNORED" if note else "DONE", note=note)
        if not note:
            self._metrics.applied(created=run.waiting[0].create_time, received=run.since, now=self._now())

    async def _end(self, tenant_id: str, events_done: Sequence[Event], *, state: str, note: str) -> None:
        ids = [event.event_id for event in events_done]
        async with self._connections.statement("webhook.done") as connection:
            held = await connection.fetch(statements.DONE, tenant_id, ids, state, note, self._now())
        await self._bodies.rekey(tenant_id, events_done[0].subject, held)

    async def waiting(self, tenant_id: str) -> tuple[int, datetime | None]:
        """Return of how many subjects events wait, and when the oldest of those was received."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statements.WAITING_SUBJECTS, tenant_id, OLDEST_OF_MAX)
        return row["pending"], row["oldest_time"]

    def _rest(self, run: Run, error: ServiceError) -> None:
        """Have the run looked at again later; returns when it has waited for so long that this counts as a failure."""
        rest = backoff.rest(self._now() - run.since)
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


def _says_nothing(payment: MirroredPayment, event: Event) -> bool:
    """Whether an event is of what a payment's charge says itself, however that stands by now: nobody works on it."""
    return event.action is Action.MOVED and is_current.comes_with_charge(payment, event.object)


def _is_current(payment: MirroredPayment, event: Event) -> bool:
    return is_current.is_current(payment, event.object, is_booked=event.action is Action.BOOKED)


def _row(
    event: Event, receipt: Receipt, *, tenant_id: str, note: str, sealed: Sealed, now: datetime
) -> tuple[object, ...]:
    return (
        tenant_id, event.event_id, event.type, event.account, event.api_version, event.subject, sealed.body,
        STATES[receipt], note, event.create_time, now, None if receipt is Receipt.ACCEPTED else now,
        sealed.holder, sealed.payer_id, events.customer_of(event.object),
    )  # fmt: skip

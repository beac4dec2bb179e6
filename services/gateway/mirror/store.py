"""Tables of the mirror: payments with their lease, intents, refunds, movements; and calls. One statement per method.

Only whoever holds a payment's lease writes it; `save` writes nothing under an older fence and says so. What is saved
for a reason that no caller gets as an answer is delivered: delivery and mirror commit together.
What is netted is written with both its payments in one transaction, the only one of more statements than one.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from services.gateway.call_log import store as call_rows
from services.gateway.call_log.call import OPEN, CallState, StoredCall
from services.gateway.call_log.operation import Accepted
from services.gateway.disputes.domain import Dispute
from services.gateway.errors import IntentNotFound
from services.gateway.intents.domain import Intent
from services.gateway.ledger import books as ledger_books
from services.gateway.ledger.balances import Known
from services.gateway.ledger.books import Books
from services.gateway.ledger.domain import Fact
from services.gateway.ledger.entry_rows import rows
from services.gateway.ledger.metrics import UNCOUNTED, LedgerMetrics
from services.gateway.ledger.posting import post
from services.gateway.mirror import statements
from services.gateway.mirror.observation import Observation, next_version
from services.gateway.mirror.payment import NEW, MirroredPayment
from services.gateway.mirror.reading_times import next_look
from services.gateway.mirror.recent import RecentPayments
from services.gateway.mirror.written_rows import intent_row, movement_row
from services.gateway.notices import notice_rows
from services.gateway.notices.domain import Notice
from services.gateway.notices.noticed import of_payment
from services.gateway.refunds.domain import Refund
from services.gateway.settlement.domain import Movement
from services.runtime.database.connections import DirectConnections
from services.runtime.database.lease import LEASE, LeaseLost, Leases
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work.kinds import WorkClass
from services.shared import codec

OF_ATTEMPTS: Final = ("intent.", "setup.", "checkout.")
"""Operations by which an attempt takes or releases something: while one has no answer, nothing is concluded from it."""
WAKES_MAX: Final = 500
"""Payments of a seller that one statement makes due, and statements in a row."""


@dataclass(frozen=True, slots=True)
class _Saving:
    """A payment about to be saved: what the statement is given, and what is true once it is committed."""

    payment: MirroredPayment
    arguments: tuple[object, ...]
    beside: _Beside
    is_delivered: bool
    is_recent: bool


@dataclass(frozen=True, slots=True)
class _Beside:
    """What follows from a payment that is about to be saved."""

    books: Books
    facts: tuple[Fact, ...]
    """What is booked for that."""
    notices: tuple[Notice, ...]
    """What people are told."""


class Store:
    """Reads and writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(
        self,
        connections: DirectConnections,
        *,
        clock: Clock,
        wake: Callable[[WorkClass], None],
        metrics: LedgerMetrics = UNCOUNTED,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` is called when a row of a class of work became due, `moved` when it was booked that money moved."""
        self._connections = connections
        self._clock = clock
        self._wake = wake
        self._metrics = metrics
        self._moved = moved
        self._recent = RecentPayments()
        self.leases: Leases[MirroredPayment] = Leases(self, key_of=lambda held: (held.tenant_id, held.payment_id))

    async def begin(self, payment: MirroredPayment, *, now: datetime) -> None:
        """Make a payment known, unless it is."""
        observation = json.dumps(codec.to_json(Observation(payment_id=payment.payment_id)))
        async with self._connections.statement("intent.begin") as connection:
            await connection.execute(
                statements.BEGIN, payment.tenant_id, payment.payment_id, payment.payer_id, payment.seller_id,
                payment.currency_code, observation, now,
            )  # fmt: skip

    async def accept(self, call: StoredCall, *, now: datetime) -> Accepted[MirroredPayment]:
        """Write a call down, or take one up again that was discarded, and take its payment if that is free.

        Raises IntentNotFound if there is no such payment.
        """
        async with self._connections.statement("call.accept") as connection:
            row = await connection.fetchrow(
                statements.ACCEPT, call.tenant_id, call.call_id, call.operation, call.request_id, call.request_hash,
                call.subject_id, json.dumps(call.params), now, self._clock.shift, LEASE,
                call_context.origin(),
            )  # fmt: skip
        if not row["found"]:
            raise IntentNotFound
        accepted = None
        if row["call_create_time"] is not None:
            accepted = replace(
                call,
                create_time=row["call_create_time"],
                generation=row["call_generation"],
                key_time=row["call_key_time"],
            )
        return Accepted(call=accepted, subject=_payment(row) if row["payment_id"] is not None else None)

    async def take(self, tenant_id: str, payment_id: str) -> MirroredPayment | None:
        """Take a payment's lease; None while another holds it, or if there is no such payment."""
        async with self._connections.statement("lease.take") as connection:
            row = await connection.fetchrow(statements.TAKE, tenant_id, payment_id, self._clock.shift, LEASE)
        return _payment(row) if row is not None else None

    async def read(self, tenant_id: str, payment_id: str) -> MirroredPayment | None:
        """Return a payment without holding it."""
        async with self._connections.statement("payment.read") as connection:
            row = await connection.fetchrow(statements.READ, tenant_id, payment_id)
        return _payment(row) if row is not None else None

    async def of_payer(self, tenant_id: str, payer_id: str) -> list[MirroredPayment]:
        """Return all payments of a payer without holding them."""
        async with self._connections.statement("payment.read") as connection:
            rows = await connection.fetch(statements.OF_PAYER, tenant_id, payer_id)
        return [_payment(row) for row in rows]

    async def read_many(self, tenant_id: str, payment_ids: Sequence[str]) -> list[MirroredPayment]:
        """Return payments without holding them."""
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(statements.READ_MANY, tenant_id, list(payment_ids))
        return [_payment(row) for row in rows]

    async def find(self, tenant_id: str, stripe_id: str) -> MirroredPayment | None:
        """Return the payment that something of Stripe's belongs to (`payment_of`), without holding it."""
        async with self._connections.statement("payment.find") as connection:
            row = await connection.fetchrow(statements.FIND, tenant_id, stripe_id)
        return _payment(row) if row is not None else None

    async def require(self, tenant_id: str, payment_id: str) -> MirroredPayment:
        """Return a payment without holding it. Raises IntentNotFound if there is none."""
        payment = await self.read(tenant_id, payment_id)
        if payment is None:
            raise IntentNotFound
        return payment

    async def require_created(self, tenant_id: str, payment_id: str) -> MirroredPayment:
        """Return a payment that has an intent. Raises IntentNotFound if there is none."""
        payment = await self.require(tenant_id, payment_id)
        if not any(intent.is_made for intent in payment.intents.values()):
            raise IntentNotFound
        return payment

    async def renew(self, payment: MirroredPayment) -> bool:
        """Hold the payment for another `LEASE`; False if it was released, or is another's by now."""
        async with self._connections.statement("lease.renew") as connection:
            renewed = await connection.fetchval(
                statements.RENEW, payment.tenant_id, payment.payment_id, payment.fence, self._clock.shift, LEASE
            )
        return bool(renewed)

    async def release(self, payment: MirroredPayment, error: BaseException | None = None) -> None:
        """Release a payment as it was last saved; nothing happens when it is another's by now."""
        async with self._connections.statement("lease.release") as connection:
            await connection.execute(
                statements.RELEASE, payment.tenant_id, payment.payment_id, payment.fence, self._clock.shift
            )

    async def save(
        self,
        payment: MirroredPayment,
        *,
        point: str,
        now: datetime,
        call: StoredCall | None = None,
        release: bool = False,
        deliver: str | None = None,
    ) -> None:
        """Write what changed of a payment, and a call's state; with `release` also release the payment.

        Attempts and refunds that are gone from the payment are removed.

        `deliver` names what made us look, when the orchestrator has to get it. Raises `LeaseLost` and writes nothing
        when the payment is another's by now, and when it begins to claim a kept method that is being detached.
        """
        saving = self._saving(payment, now=now, call=call, release=release, deliver=deliver)
        async with self._connections.statement(point) as connection:
            saved = await connection.fetchval(statements.SAVE, *saving.arguments)
        if not saved:
            await self.release(payment)  # unless it is another's: a method that it was to claim is being detached
            raise LeaseLost
        self._saved(saving)

    async def save_both(
        self, one: MirroredPayment, other: MirroredPayment, *, point: str, now: datetime, deliver: str
    ) -> None:
        """Write two payments and release them, or neither: in the order of their ids, as whoever locks two rows does.

        `deliver` names what made us look, where the orchestrator has to get it. Raises `LeaseLost` and writes nothing
        when either is another's by now.
        """
        both = sorted((one, other), key=lambda each: each.payment_id)
        savings = [
            self._saving(each, now=now, call=None, release=True, deliver=deliver if each.is_changed else None)
            for each in both
        ]
        try:
            async with self._connections.transaction(point) as connection:
                for saving in savings:
                    if not await connection.fetchval(statements.SAVE, *saving.arguments):
                        raise LeaseLost
        except LeaseLost:
            for each in both:
                await self.release(each)  # unless it is another's
            raise
        for saving in savings:
            self._saved(saving)

    def _saving(
        self,
        payment: MirroredPayment,
        *,
        now: datetime,
        call: StoredCall | None,
        release: bool,
        deliver: str | None,
    ) -> _Saving:
        beside = _stamped(payment, now)
        of_call = call_rows.arguments(call, now=now)
        arguments = (
            *_mirror_arguments(payment, self._clock.shift, beside), *of_call.started,
            release, of_call.answer, of_call.tries, deliver, now, call_context.origin(), of_call.send_time,
        )  # fmt: skip
        is_recent = release and (call is None or call.state not in OPEN)
        return _Saving(payment, arguments, beside, is_delivered=deliver is not None, is_recent=is_recent)

    def _saved(self, saving: _Saving) -> None:
        payment = saving.payment
        if saving.is_delivered or saving.beside.notices:
            self._wake(WorkClass.DELIVERIES)
        if payment.missing not in (None, payment.saved_missing):
            self._wake(WorkClass.MONEY)
        payment.books = saving.beside.books
        payment.mark_saved()
        self._booked(saving.beside.facts)
        if saving.is_recent:
            self._recent.put(payment, fence=payment.fence + 1)

    async def owing(self, payment: MirroredPayment, seller_id: str, *, size: int) -> list[str]:
        """Return other payments of which a seller owes something in the same currency, for the longest first."""
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(
                statements.OWING, payment.tenant_id, seller_id, payment.currency_code, payment.payment_id, size
            )
        return [row["payment_id"] for row in rows]

    def recent(self, tenant_id: str, payment_id: str) -> MirroredPayment | None:
        """Return a payment as it was last saved and released here, if nothing on it was open then."""
        return self._recent.get((tenant_id, payment_id))

    def recent_of(self, tenant_id: str, stripe_id: str) -> MirroredPayment | None:
        """Do as `recent` for the payment that something of Stripe's belongs to (`payment_of`)."""
        return self._recent.of(tenant_id, stripe_id)

    async def start(self, payment: MirroredPayment, call: StoredCall, *, point: str, now: datetime) -> bool:
        """Write a payment down with a call on it that is started, and hold it, in one statement.

        False, and nothing is written, unless the payment is still as `recent` returned it and free, or new and not
        there yet; and unless the call's request is new.
        """
        beside = _stamped(payment, now)
        is_new = payment.fence == NEW
        identity = (payment.payer_id, payment.seller_id, payment.currency_code) if is_new else ()
        trace_context = call_context.origin()
        async with self._connections.statement(point) as connection:
            try:
                fence = await connection.fetchval(
                    statements.START_NEW if is_new else statements.START,
                    *_mirror_arguments(payment, self._clock.shift, beside),
                    *call_rows.arguments(call, now=now).started,
                    call.operation, call.request_id, call.request_hash, call.create_time, LEASE, trace_context,
                    *identity,
                )  # fmt: skip
            except asyncpg.UniqueViolationError:  # the request is known, of another payment
                fence = None
        self._recent.forget((payment.tenant_id, payment.payment_id))
        if fence is None:
            return False
        payment.fence = fence
        payment.trace_context = trace_context or payment.trace_context
        payment.books = beside.books
        payment.mark_saved()
        self._booked(beside.facts)
        if beside.notices:
            self._wake(WorkClass.DELIVERIES)
        return True

    def _booked(self, facts: Sequence[Fact]) -> None:
        if facts:
            self._metrics.booked(facts)
            self._moved()

    async def wake_settlements(self, tenant_id: str, seller_id: str) -> None:
        """Make due what waits for a seller, whose account is another now.

        Each round at most `WAKES_MAX` payments, and at most so many rounds: what is left is due by its own time.
        """
        for _ in range(WAKES_MAX):
            async with self._connections.statement("settlement.wake") as connection:
                woken = await connection.fetchval(
                    statements.WAKE_SETTLEMENTS, tenant_id, seller_id, self._clock.shift, WAKES_MAX
                )
            if woken:
                self._wake(WorkClass.MONEY)
            if woken < WAKES_MAX:
                return

    async def payment_of(self, tenant_id: str, stripe_id: str) -> str | None:
        """Return the payment that an intent, a session, charge, refund, transfer or fee of Stripe's belongs to."""
        async with self._connections.statement("payment.find") as connection:
            found: str | None = await connection.fetchval(statements.PAYMENT_OF, tenant_id, stripe_id)
        return found

    async def payment_of_refund(self, tenant_id: str, refund_id: str) -> str | None:
        """Return the payment that a refund of ours belongs to."""
        async with self._connections.statement("payment.find") as connection:
            found: str | None = await connection.fetchval(statements.REFUND, tenant_id, refund_id)
        return found


def _stamped(payment: MirroredPayment, now: datetime) -> _Beside:
    """Give what is about to be saved its version and its times, and return what follows from it."""
    if payment.is_changed:
        version = next_version(payment.saved_version, now)
        payment.observation = replace(payment.observation, mirror_version=version, observe_time=now)
    for refund in payment.refunds.values():
        if refund.is_returned and refund.fail_time is None:
            payment.refunds[refund.refund_id] = replace(refund, fail_time=now)
    books, facts = _posted(payment)
    return _Beside(books, facts, tuple(of_payment(payment, now=now)))


def _posted(payment: MirroredPayment) -> tuple[Books, tuple[Fact, ...]]:
    """Return what is booked of what is about to be saved, and the facts that are booked for that."""
    known = Known(
        currency_code=payment.currency_code,
        intents=payment.intents,
        refunds=payment.refunds,
        movements=payment.movements,
    )
    return post(payment.books, known, payment_id=payment.payment_id, counting=payment.observation.attempt)


def _mirror_arguments(payment: MirroredPayment, shift: timedelta, beside: _Beside) -> tuple[object, ...]:
    """Return $1 to $15 of the statements that write a payment, and what follows from it."""
    rest = next_look(payment.observation, payment.intents.values(), payment.refunds.values(), looks=0)
    intents = [
        intent_row(one, payer_id=payment.payer_id, claims_method_id=_newly_claimed(payment, one))
        for one in payment.intents.values()
        if payment.written.get(one.attempt) != one
    ]
    refunds = [codec.to_json(one) for one in payment.refunds.values() if payment.written.get(one.refund_id) != one]
    movements = [movement_row(one) for one in payment.movements.values() if payment.written.get(one.movement_id) != one]
    return (
        payment.tenant_id, payment.payment_id, payment.fence,
        json.dumps(codec.to_json(payment.observation)), payment.observation.mirror_version,
        json.dumps(intents), json.dumps(refunds),
        [key for key in payment.written if key not in payment.intents and isinstance(key, int)],
        [key for key, value in payment.written.items() if key not in payment.refunds and isinstance(value, Refund)],
        shift, rest, payment.is_changed, json.dumps(movements),
        [key for key, value in payment.written.items() if key not in payment.movements and isinstance(value, Movement)],
        json.dumps(_beside(payment, beside)),
    )  # fmt: skip


def _beside(payment: MirroredPayment, beside: _Beside) -> dict[str, object]:
    """Return what follows from a payment: what is booked of it, what sellers are still to have or to give back, and
    what people are told.
    """
    follows: dict[str, object] = {}
    if beside.books is not payment.books:
        follows = {"books": ledger_books.to_json(beside.books), "entries": rows(beside.facts)}
    if beside.notices:
        follows["notices"] = notice_rows.rows(beside.notices)
    if payment.missing is not None:
        follows |= {"missing": payment.missing, "seller_ids": payment.unsettled_sellers}
    if payment.receivables != payment.saved_receivables:
        follows |= _receivable_rows(payment)
    return follows


def _receivable_rows(payment: MirroredPayment) -> dict[str, object]:
    """Return what sellers owe, and who owes nothing any more."""
    owing = [{**codec.to_json(one), "currency_code": payment.currency_code} for one in payment.receivables]
    named = {(one.attempt, one.seller_id) for one in payment.receivables}
    gone = {(one.attempt, one.seller_id) for one in payment.saved_receivables} - named
    return {
        "receivables": owing,
        "gone_receivables": [{"attempt": attempt, "seller_id": seller_id} for attempt, seller_id in sorted(gone)],
    }


def _newly_claimed(payment: MirroredPayment, intent: Intent) -> str:
    """Return the kept method that an attempt claims, and did not when it was written last; empty for none."""
    before = payment.written.get(intent.attempt)
    is_known = isinstance(before, Intent) and before.claims_method_id == intent.claims_method_id
    return "" if is_known else intent.claims_method_id


def _disputes(kept: list[tuple[int, codec.Json]], attempt: int) -> tuple[Dispute, ...]:
    return tuple(codec.from_json(Dispute, mirrored) for number, mirrored in kept if number == attempt)


def _payment(row: asyncpg.Record) -> MirroredPayment:
    mirror = json.loads(row["mirror"])
    intents = [codec.from_json(Intent, kept) for kept in mirror["intents"]]
    intents = [replace(one, disputes=_disputes(mirror["disputes"], one.attempt)) for one in intents]
    refunds = [codec.from_json(Refund, kept) for kept in mirror["refunds"]]
    movements = [codec.from_json(Movement, kept) for kept in mirror["movements"]]
    payment = MirroredPayment(
        tenant_id=row["tenant_id"],
        payment_id=row["payment_id"],
        payer_id=row["payer_id"],
        seller_id=row["seller_id"],
        currency_code=row["currency_code"],
        observation=codec.from_json(Observation, json.loads(row["observation"])),
        books=ledger_books.from_json(json.loads(row["books"])),
        fence=row["fence"],
        trace_context=row["trace_context"],
        intents={one.attempt: one for one in intents},
        refunds={one.refund_id: one for one in refunds},
        movements={one.movement_id: one for one in movements},
        open_calls=[(operation, uuid.UUID(request_id)) for operation, request_id, _ in mirror["open_calls"]],
        unsettled=any(
            state == CallState.UNKNOWN and operation.startswith(OF_ATTEMPTS)
            for operation, _, state in mirror["open_calls"]
        ),
    )
    payment.count_receivables()
    payment.mark_saved()
    return payment

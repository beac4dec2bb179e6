"""Tables of the mirror: payments with their lease, intents, refunds, and the log of calls. One statement per method.

Only whoever holds a payment's lease writes it; `save` writes nothing under an older fence and says so. What is saved
because of something that no caller is told about is delivered: delivery and mirror commit together.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self, cast

import asyncpg

from services.errors import DependencyUnavailable
from services.gateway import domain
from services.gateway.domain import (
    IDEMPOTENCY_KEY_TTL,
    LEASE,
    Intent,
    Observation,
    Refund,
    intent_from_json,
    refund_from_json,
    to_json,
)
from services.gateway.mirror import statements
from services.gateway.mirror.reading_times import next_look
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.kinds import WorkClass

CALL_NAMESPACE: Final = uuid.UUID("5a1c6b0e-9f43-4d27-8a86-2f6f7d0c1b95")
"""Of the ids of calls. Never changes: Stripe knows calls by them."""


class LeaseLost(DependencyUnavailable):
    """Another process works on this payment now; send the same call again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to Stripe that changes something, from before it is made until it is answered."""

    tenant_id: str
    call_id: uuid.UUID
    operation: str
    request_id: uuid.UUID
    request_hash: bytes
    payment_id: str
    params: dict[str, Any]
    """What is sent, once it is STARTED; sent again exactly so."""
    state: str = "ACCEPTED"
    answer: dict[str, Any] | None = None
    tries: int = 0
    due_time: datetime | None = None
    create_time: datetime
    generation: int = 0
    """How often it was begun anew, each time under another key."""
    key_time: datetime | None = None
    """When the call was first sent under the key of this generation, or, before that, when the key was made; None for
    one that was never sent under its first."""

    @property
    def key(self) -> str:
        """The idempotency key: of what was asked, and of how often it was begun anew. The same, whoever makes it."""
        key = f"{self.operation}:{self.call_id}"
        return f"{key}:{self.generation}" if self.generation else key

    def key_ends(self, now: datetime) -> bool:
        """Whether Stripe may have forgotten the key."""
        return now - (self.key_time or self.create_time) >= IDEMPOTENCY_KEY_TTL

    def with_new_key(self, now: datetime) -> Self:
        """Return the call under another key: what was sent under this one certainly had no effect."""
        return replace(self, generation=self.generation + 1, key_time=now)


def call_id_of(tenant_id: str, operation: str, request_id: uuid.UUID) -> uuid.UUID:
    """Return the id of a call: of the request alone, so that one whose row was lost is made by the same key again."""
    return uuid.uuid5(CALL_NAMESPACE, f"{tenant_id}/{operation}/{request_id}")


@dataclass(slots=True, kw_only=True)
class MirroredPayment:
    """A payment under its lease, as its holder sees and changes it; nothing is kept until `Store.save`."""

    tenant_id: str
    payment_id: str
    payer_id: str
    seller_id: str
    currency_code: str
    observation: Observation
    fence: int
    intents: dict[int, Intent]
    refunds: dict[str, Refund]
    unsettled: bool
    """A call on an intent has no answer yet."""
    open_calls: dict[tuple[str, uuid.UUID], str]
    """State by operation and request of the calls that were started and have no answer, the oldest first."""
    saved_version: int = 0
    """The version in the tables."""
    written: dict[object, object] = field(default_factory=dict)
    """Intents and refunds as they are in the tables, so that only what changed is written."""

    @property
    def latest(self) -> Intent | None:
        """The attempt that was begun last."""
        return self.intents[max(self.intents)] if self.intents else None


class Store:
    """Reads and writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections, *, clock: Clock, wake: Callable[[WorkClass], None]) -> None:
        """`wake` is called when a row of a class of work became due."""
        self._connections = connections
        self._clock = clock
        self._wake = wake

    async def begin(
        self, tenant_id: str, payment_id: str, *, payer_id: str, seller_id: str, currency_code: str, now: datetime
    ) -> None:
        """Make a payment known, unless it is."""
        observation = json.dumps(Observation(payment_id=payment_id).to_json())
        async with self._connections.statement("intent.begin") as connection:
            await connection.execute(
                statements.BEGIN, tenant_id, payment_id, payer_id, seller_id, currency_code, observation, now
            )

    async def accept(self, call: Call, *, now: datetime) -> tuple[bool, Call | None, MirroredPayment | None]:
        """Write a call down, or take one up again that was withdrawn, and take its payment if that is free.

        Returns whether there is such a payment, the call if it is to be made now, and the payment if it is held now.
        """
        async with self._connections.statement("call.accept") as connection:
            row = await connection.fetchrow(
                statements.ACCEPT, call.tenant_id, call.call_id, call.operation, call.request_id, call.request_hash,
                call.payment_id, json.dumps(call.params), now, self._clock.shift, LEASE,
            )  # fmt: skip
        accepted = None
        if row["call_create_time"] is not None:
            accepted = replace(
                call,
                create_time=row["call_create_time"],
                generation=row["call_generation"],
                key_time=row["call_key_time"],
            )
        return bool(row["found"]), accepted, _held(row) if row["payment_id"] is not None else None

    async def take(self, tenant_id: str, payment_id: str) -> MirroredPayment | None:
        """Take a payment's lease; None while somebody else has it, or if there is no such payment."""
        async with self._connections.statement("lease.take") as connection:
            row = await connection.fetchrow(statements.TAKE, tenant_id, payment_id, self._clock.shift, LEASE)
        return _held(row) if row is not None else None

    async def read(self, tenant_id: str, payment_id: str) -> MirroredPayment | None:
        """Return a payment without holding it."""
        async with self._connections.statement("payment.read") as connection:
            row = await connection.fetchrow(statements.READ, tenant_id, payment_id)
        return _held(row) if row is not None else None

    async def renew(self, held: MirroredPayment) -> bool:
        """Hold the payment for another `LEASE`; False if it was let go, or is somebody else's by now."""
        async with self._connections.statement("lease.renew") as connection:
            renewed = await connection.fetchval(
                statements.RENEW, held.tenant_id, held.payment_id, held.fence, self._clock.shift, LEASE
            )
        return bool(renewed)

    async def release(self, held: MirroredPayment) -> None:
        """Let a payment go as it was last saved; nothing happens when it is somebody else's by now."""
        async with self._connections.statement("lease.release") as connection:
            await connection.execute(statements.RELEASE, held.tenant_id, held.payment_id, held.fence, self._clock.shift)

    async def save(
        self,
        held: MirroredPayment,
        *,
        point: str,
        now: datetime,
        call: Call | None = None,
        release: bool = False,
        deliver: str | None = None,
    ) -> None:
        """Write what changed of a payment, and a call's state; with `release` also let the payment go.

        Attempts and refunds that are gone from `held` are removed.

        `deliver` names what made us look, when the orchestrator has to be told. Raises `LeaseLost` and writes nothing
        when the payment is somebody else's by now.
        """
        if held.observation.mirror_version != held.saved_version:
            version = domain.next_version(held.saved_version, now)
            held.observation = replace(held.observation, mirror_version=version, observe_time=now)
        for refund in held.refunds.values():
            if refund.is_returned and refund.fail_time is None:
                held.refunds[refund.refund_id] = replace(refund, fail_time=now)
        arguments = _save_arguments(held, call, now=now, release=release, shift=self._clock.shift, deliver=deliver)
        async with self._connections.statement(point) as connection:
            saved = await connection.fetchval(statements.SAVE, *arguments)
        if not saved:
            raise LeaseLost
        if deliver is not None:
            self._wake(WorkClass.DELIVERIES)
        held.written, held.saved_version = _written(held), held.observation.mirror_version

    async def call(self, tenant_id: str, operation: str, request_id: uuid.UUID) -> Call | None:
        """Return a call that was written down."""
        async with self._connections.statement("call.read") as connection:
            row = await connection.fetchrow(statements.CALL, tenant_id, operation, request_id)
        return _call(row) if row is not None else None

    async def call_by_id(self, tenant_id: str, call_id: str) -> Call | None:
        """Return a call that was written down."""
        async with self._connections.statement("call.read") as connection:
            row = await connection.fetchrow(statements.CALL_BY_ID, tenant_id, uuid.UUID(call_id))
        return _call(row) if row is not None else None

    async def payment_of(self, tenant_id: str, stripe_id: str) -> str | None:
        """Return the payment that an intent, charge or refund of Stripe's belongs to."""
        async with self._connections.statement("payment.find") as connection:
            found = await connection.fetchval(statements.PAYMENT_OF, tenant_id, stripe_id)
        return cast("str | None", found)

    async def payment_of_refund(self, tenant_id: str, refund_id: str) -> str | None:
        """Return the payment that a refund of ours belongs to."""
        async with self._connections.statement("payment.find") as connection:
            found = await connection.fetchval(statements.REFUND, tenant_id, refund_id)
        return cast("str | None", found)


def _save_arguments(
    held: MirroredPayment, call: Call | None, *, now: datetime, release: bool, shift: timedelta, deliver: str | None
) -> tuple[Any, ...]:
    rest = next_look(held.observation, held.intents.values(), held.refunds.values(), looks=0)
    intents = [
        {
            "attempt": one.attempt,
            "intent_id": one.intent_id,
            "charge_id": one.charge_id,
            "mirrored": to_json(one),
            "create_time": one.create_time.isoformat(),
        }
        for one in held.intents.values()
        if held.written.get(one.attempt) != one
    ]
    refunds = [to_json(one) for one in held.refunds.values() if held.written.get(one.refund_id) != one]
    return (
        held.tenant_id, held.payment_id, held.fence,
        json.dumps(held.observation.to_json()), held.observation.mirror_version, release,
        json.dumps(intents), json.dumps(refunds),
        call.call_id if call else None, call.state if call else None,
        json.dumps(call.params) if call else None,
        json.dumps(call.answer) if call and call.answer is not None else None,
        call.tries if call else None, call.due_time - now if call and call.due_time else None,
        [key for key in held.written if key not in held.intents and isinstance(key, int)],
        [key for key in held.written if key not in held.refunds and isinstance(key, str)],
        call.generation if call else None, call.key_time if call else None,
        shift, deliver, now, rest, held.observation.mirror_version != held.saved_version,
    )  # fmt: skip


def _written(held: MirroredPayment) -> dict[object, object]:
    return dict(held.intents.items()) | dict(held.refunds.items())


def _held(row: asyncpg.Record) -> MirroredPayment:
    mirror = json.loads(row["mirror"])
    held = MirroredPayment(
        tenant_id=row["tenant_id"],
        payment_id=row["payment_id"],
        payer_id=row["payer_id"],
        seller_id=row["seller_id"],
        currency_code=row["currency_code"],
        observation=Observation.from_json(json.loads(row["observation"])),
        fence=row["fence"],
        intents={kept["attempt"]: intent_from_json(kept) for kept in mirror["intents"]},
        refunds={kept["refund_id"]: refund_from_json(kept) for kept in mirror["refunds"]},
        open_calls={(operation, uuid.UUID(request_id)): state for operation, request_id, state in mirror["open_calls"]},
        unsettled=any(
            state == "UNKNOWN" and operation.startswith("intent.") for operation, _, state in mirror["open_calls"]
        ),
    )
    held.written, held.saved_version = _written(held), held.observation.mirror_version
    return held


def _call(row: asyncpg.Record) -> Call:
    values = cast("dict[str, Any]", dict(row))
    values["params"] = json.loads(values["params"])
    values["answer"] = json.loads(values["answer"]) if values["answer"] is not None else None
    return Call(**values)

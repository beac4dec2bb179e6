"""Writing off what a seller owes: one row more of the payment, under its lease, by which it owes nothing any more.

If the process dies before the save, nothing was written off; after it, a repeat finds the row of its request.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.errors import RequestIdReused
from services.gateway.call_log.engine import WAIT_MAX_S, Calls
from services.gateway.errors import ReceivableChanged, ReceivableNotFound
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.gateway.receivables.domain import Seen, write_off
from services.gateway.settlement import facts
from services.gateway.settlement.domain import Movement, MovementKind
from services.runtime.database.lease import patience
from services.runtime.rpc import call_context

WRITTEN_OFF: Final = "receivable written off"
"""As what the orchestrator is told of it."""


class WriteOffs:
    """Writes receivables off, once each."""

    def __init__(self, payments: Store, calls: Calls, *, now: Callable[[], datetime]) -> None:
        self._payments = payments
        self._calls = calls
        self._now = now

    async def write_off(
        self,
        tenant_id: str,
        owed: Seen,
        *,
        actor_id: str,
        note: str,
        request_id: uuid.UUID,
    ) -> Movement:
        """Write off what a seller is seen to owe, or return what was written off by this request before.

        Raises ReceivableNotFound, or ReceivableChanged where it owes another amount than `owed` says.
        """
        payment = await self._held(tenant_id, owed.payment_id)
        movement_id = facts.movement_id(MovementKind.WRITE_OFF, payment.payment_id, str(request_id))
        async with self._payments.leases.holding(payment):
            known = payment.movements.get(movement_id)
            if known is None:
                await self._calls.settle_open(self._payments, payment)  # what is being asked back may come yet
                _check(payment, owed)
                known = write_off(owed, movement_id=movement_id, actor_id=actor_id, note=note, create_time=self._now())
                payment.movements[movement_id] = known
                payment.conclude()
            elif not _is_of(known, owed, actor_id=actor_id, note=note):
                raise RequestIdReused(field="request_id")
            await self._payments.save(
                payment,
                point="receivable.write_off",
                now=self._now(),
                release=True,
                deliver=WRITTEN_OFF if payment.is_changed else None,
            )
        return known

    async def _held(self, tenant_id: str, payment_id: str) -> MirroredPayment:
        async def check() -> None:
            await self._payments.require(tenant_id, payment_id)

        until = patience(wait_max_s=WAIT_MAX_S)
        payment = await self._payments.leases.acquire((tenant_id, payment_id), until=until, check=check)
        call_context.about(payment_id, origin=payment.trace_context)
        return payment


def _is_of(known: Movement, owed: Seen, *, actor_id: str, note: str) -> bool:
    """Whether a write-off was asked for in the same words."""
    asked = (owed.attempt, owed.seller_id, actor_id, note)
    return (known.attempt, known.seller_id, known.actor_id, known.note) == asked


def _check(payment: MirroredPayment, seen: Seen) -> None:
    """Raise what forbids that so much is written off."""
    owed = next(
        (one for one in payment.receivables if (one.attempt, one.seller_id) == (seen.attempt, seen.seller_id)), None
    )
    if owed is None:
        raise ReceivableNotFound
    if (owed.amount_minor, payment.currency_code) != (seen.amount_minor, seen.currency_code):
        raise ReceivableChanged(field="expected", amount_minor=owed.amount_minor)

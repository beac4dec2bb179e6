"""Netting: what a seller owes of other payments is kept back from what it is to get of this one, where terms say so.

Both sides of a netting are rows of movements, one of each payment, that commit together under the leases of both. So
it is there once, or not at all: if the process dies before the commit nothing was netted, and whoever settles next
computes the transfer and looks for receivables anew; after it both payments say so, and the transfer is smaller.

The lease of the payment that pays is waited for, that of the one of which is owed is only tried: one that is worked
on, as where its reversal is being asked for again, is passed over. So nobody waits for a lease while holding one that
another waits for, and what is still owed is decided by who holds the payment of which it is owed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.gateway.call_log.engine import WAIT_MAX_S
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.gateway.receivables.domain import Receivable
from services.gateway.settlement import facts
from services.gateway.settlement.domain import Movement, MovementKind, MovementOrigin, MovementState
from services.runtime.database.lease import patience

LOOKED_AT_MAX: Final = 10
"""Payments of which a seller owes something that one transfer looks at; the next step looks again."""
NETTED: Final = "netted with what a seller owes"
"""As what the orchestrator is told of it."""

_logger = logging.getLogger(__name__)


class Netting:
    """Keeps back from transfers what their sellers owe of other payments."""

    def __init__(self, store: Store, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def net(self, payment: MirroredPayment, move: Movement) -> bool:
        """Keep back what a seller owes of one other payment from a transfer that is to be made; False for nothing."""
        if not is_netted(payment, move):
            return False
        payment_ids = await self._store.owing(payment, move.seller_id, size=LOOKED_AT_MAX)
        if not payment_ids:
            return False
        key = (payment.tenant_id, payment.payment_id)
        paying = await self._store.leases.acquire(key, until=patience(wait_max_s=WAIT_MAX_S))
        async with self._store.leases.holding(paying):
            for payment_id in payment_ids:
                if await self._net_with(paying, payment_id, move):
                    return True
            await self._store.release(paying)
        return False

    async def _net_with(self, paying: MirroredPayment, payment_id: str, move: Movement) -> bool:
        owing = await self._store.take(paying.tenant_id, payment_id)
        if owing is None:
            return False
        async with self._store.leases.holding(owing):
            sides = netting(paying, owing, move, now=self._now())
            if sides is None:
                await self._store.release(owing)
                return False
            for side, kept in zip((paying, owing), sides, strict=True):
                side.movements[kept.movement_id] = kept
                side.conclude()
            await self._store.save_both(paying, owing, point="settlement.netting", now=self._now(), deliver=NETTED)
        _logger.info("%s of %s is kept back for %s", sides[0].fact, paying.payment_id, payment_id)
        return True


def is_netted(payment: MirroredPayment, move: Movement) -> bool:
    """Whether what is to be moved is a transfer of ours from which receivables are kept back, by the charge's terms."""
    intent = payment.intents[move.attempt]
    is_of_terms = intent.settlement.nets_receivables and not intent.is_destination
    return is_of_terms and move.kind is MovementKind.TRANSFER and move.currency_code == payment.currency_code


def netting(
    paying: MirroredPayment, owing: MirroredPayment, move: Movement, *, now: datetime
) -> tuple[Movement, Movement] | None:
    """Return both sides of what is kept back; None if the transfer is not to be made so any more, or nothing is owed.

    What moved in another currency than its payment's is not netted: what it comes to is known at Stripe alone.
    """
    due = next((one for one in paying.steps(None) if isinstance(one, Movement) and one.fact == move.fact), None)
    owed = next((one for one in owing.receivables if _can_be_netted(owing, one, move.seller_id)), None)
    if due is None or owed is None or not is_netted(paying, due) or owing.currency_code != paying.currency_code:
        return None
    minor = min(due.charge_minor, owed.amount_minor)
    before_minor = sum(
        one.charge_minor
        for one in paying.movements.values()
        if (one.kind, one.attempt, one.seller_id) == (MovementKind.NETTING_OUT, due.attempt, due.seller_id)
    )
    fact = facts.netting(paying.payment_id, due.attempt, due.seller_id, before_minor + minor)

    def side(kind: MovementKind, of: MirroredPayment, other: MirroredPayment, attempt: int) -> Movement:
        return Movement(
            movement_id=facts.movement_id(kind, of.payment_id, fact),
            kind=kind,
            origin=MovementOrigin.WAY_BACK,
            attempt=attempt,
            seller_id=due.seller_id,
            amount_minor=minor,
            currency_code=of.currency_code,
            charge_minor=minor,
            state=MovementState.MADE,
            netted_with=other.payment_id,
            fact=fact,
            create_time=now,
        )

    return (
        side(MovementKind.NETTING_OUT, paying, owing, due.attempt),
        side(MovementKind.NETTING_IN, owing, paying, owed.attempt),
    )


def _can_be_netted(owing: MirroredPayment, owed: Receivable, seller_id: str) -> bool:
    """Whether it is owed for certain: nothing of it is asked back that may come yet."""
    if owed.seller_id != seller_id or owing.intents[owed.attempt].is_destination:
        return False
    own = [one for one in owing.movements.values() if (one.attempt, one.seller_id) == (owed.attempt, seller_id)]
    return all(one.state is not MovementState.PENDING and one.currency_code == owing.currency_code for one in own)

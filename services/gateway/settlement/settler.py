"""The due work of settling: one step of a payment after another, until each seller has its part or waits for something.

`Store.save` keeps a row for each payment of which a seller has not what it is to have, in the statement that keeps why;
so there is none without, and one that comes to rest has none. Each step is computed anew from what is true. If the
process dies at any place, the row is due when its lease ends, and the next steps are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.errors import Aborted, ResourceExhausted, Unavailable
from services.gateway.call_log.engine import WAIT_MAX_S, Calls
from services.gateway.call_log.operation import Operation, P
from services.gateway.errors import NotNow, SellerNotFound, StripeRefused
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.gateway.sellers.operations import Sellers
from services.gateway.settlement import facts
from services.gateway.settlement.domain import Movement, MovementKind, Wait, WaitReason, went_back
from services.gateway.settlement.moves import OF_SELLERS, Step, wait_of
from services.gateway.settlement.netting import Netting
from services.gateway.settlement.transfers import CreateTransfer, TransferParams
from services.gateway.settlement.way_back import RefundFee, ReverseTransfer, WayBackParams
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.movement_objects import charge_facts
from services.gateway.sync.movements import MovementReader
from services.runtime import crash_points
from services.runtime.database.lease import patience
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, jittered
from services.shared.refusals import Refusal

RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=1), delay_max=timedelta(hours=1))
"""Of a payment whose settling raises what it should not: what is due to a seller is never given up."""
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)
"""What Stripe, or another call on the same payment, raises for now: no failure of the settling."""
STEPS_MAX: Final = 20
"""Of one payment, before others have their turn."""
REST: Final = timedelta(seconds=5)
"""After Stripe was away, or another call was in the way."""
RESTS: Final = {
    WaitReason.CHARGE: timedelta(minutes=1),  # the event that says it is booked makes it due
    WaitReason.CALL: timedelta(minutes=5),  # whoever settles the call makes it due
    WaitReason.HELD_BACK: timedelta(hours=1),  # the event that says it is over does, unless it is lost
}
REST_MAX: Final = timedelta(hours=12)
"""Where something else has to happen first, which makes it due: looked at all the same, in case that was missed."""

SETTLED: Final = "settled with sellers"
"""As what the orchestrator is told that something moved."""
DOUBTED: Final = "a review or a warning of fraud is over"
"""The same, when a look found that."""
HASH: Final = b"settlement"
"""Of requests of our own: what is asked under one of their ids follows from the id."""

_logger = logging.getLogger(__name__)


class Settler:
    """Makes what each seller has what it is to have."""

    def __init__(
        self, store: Store, calls: Calls, sellers: Sellers, provider: Provider, *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._calls = calls
        self._sellers = sellers
        self._provider = provider
        self._movements = MovementReader(provider, sellers)
        self._now = now
        self._netting = Netting(store, now=now)

    @property
    def work(self) -> WorkKind:
        """The payments of which a seller has not what it is to have."""
        return WorkKind(
            name="settlements",
            work_class=WorkClass.MONEY,
            table="settlements",
            key={"payment_id": "text"},
            retry=RETRY,
            handler=self.settle,
        )

    async def settle(self, work: Work) -> None:
        """Take a payment's next steps. Its row is gone once it is at rest, and else due when something can be done."""
        (payment_id,) = work.key
        call_context.about(payment_id)
        try:
            left = await self._settle(work.tenant_id, payment_id)
        except AWAY as error:
            raise RetryLater(jittered(REST)) from error
        if left:
            raise RetryLater(self._rest(left))

    async def _settle(self, tenant_id: str, payment_id: str) -> Sequence[Step]:
        """Take steps while there is one that does not wait; return what is left."""
        was_read: set[int] = set()
        in_vain: set[str] = set()
        is_looked_at = False
        mended = await self._mended(await self._store.require(tenant_id, payment_id))
        for _ in range(STEPS_MAX):
            payment = await self._store.require(tenant_id, payment_id)
            left = payment.steps(self._now(), at_once=mended)
            move = next((one for one in left if isinstance(one, Movement) and one.fact not in in_vain), None)
            unread = next((one.attempt for one in left if _is_of_charge(one) and one.attempt not in was_read), None)
            if move is not None and _is_on_assumed(payment, move) and move.attempt not in was_read:
                was_read.add(move.attempt)
                await self.read_charge(payment, move.attempt)
            elif move is not None:
                if not await self._make(payment, move):
                    in_vain.add(move.fact)
            elif unread is not None:
                was_read.add(unread)
                await self.read_charge(payment, unread)
            elif not is_looked_at and any(isinstance(one, Wait) and one.reason is WaitReason.HELD_BACK for one in left):
                is_looked_at = True
                await self._read_doubts(payment)
            else:
                break
        return left

    async def _mended(self, payment: MirroredPayment) -> frozenset[str]:
        """Return the sellers who could not receive a transfer, and can by what was seen of their accounts since."""
        refused = {
            one.seller_id: one.refuse_time
            for one in payment.movements.values()
            if one.refuse_time is not None and wait_of(one) in OF_SELLERS
        }
        found = set()
        for seller_id, refuse_time in refused.items():
            with suppress(SellerNotFound):
                account = await self._sellers.get(payment.tenant_id, seller_id)
                if not account.missing and account.observe_time is not None and account.observe_time > refuse_time:
                    found.add(seller_id)
        return frozenset(found)

    async def _make(self, payment: MirroredPayment, move: Movement) -> bool:
        """Make one movement; False if it cannot be made now. What Stripe refuses is kept with it.

        Refused it may be to somebody else who came to the same step at once.
        """
        if await self._netting.net(payment, move):
            return True
        try:
            if move.kind is MovementKind.TRANSFER:
                account = await self._sellers.get(payment.tenant_id, move.seller_id)
                params = TransferParams(fact=move.fact, account_id=account.stripe_account_id)
                await self._call(CreateTransfer, payment, move, params)
            else:
                on = payment.movements[move.of_movement_id]
                until_minor = went_back(on, payment.movements.values()).charge_minor + move.charge_minor
                back = WayBackParams(of_movement_id=on.movement_id, until_minor=until_minor)
                kind = ReverseTransfer if move.kind is MovementKind.REVERSAL else RefundFee
                await self._call(kind, payment, move, back)
        except (StripeRefused, Refusal) as refusal:
            if refusal.reason != StripeRefused.reason:
                raise
            _logger.warning("%s of %s is refused: %s", move.fact, payment.payment_id, refusal.metadata.get("code"))
            return False
        except (NotNow, SellerNotFound) as why:
            _logger.info("%s of %s is not made now: %s", move.fact, payment.payment_id, why.reason)
            return False
        return True

    async def _call(
        self, kind: type[Operation[P, MirroredPayment]], payment: MirroredPayment, move: Movement, params: P
    ) -> None:
        known = payment.movements.get(move.movement_id)
        await self._calls.make(
            kind,
            params=params,
            tenant_id=payment.tenant_id,
            subject_id=payment.payment_id,
            request_id=facts.request_id(payment.payment_id, move.fact, refusals=known.refusals if known else 0),
            request_hash=HASH,
            deliver=SETTLED,
        )

    async def read_charge(self, payment: MirroredPayment, attempt: int) -> None:
        """Mirror what a charge came to on the platform's balance, once Stripe shows that."""
        key = (payment.tenant_id, payment.payment_id)
        held = await self._store.leases.acquire(key, until=patience(wait_max_s=WAIT_MAX_S))
        async with self._store.leases.holding(held):
            charge_id = held.intents[attempt].charge_id
            charge = await crash_points.call("settlement.charge.stripe", self._provider.charges.retrieve(charge_id))
            shown = charge_facts(charge)
            if shown is not None:
                held.apply_charge(attempt, shown)
                rate = await self._movements.settled(charge)
                held.intents[attempt] = replace(held.intents[attempt], settled=rate)
                # It was captured in parts, or what it came to on the balance may be in another currency.
                is_unseen = held.lacks_movements(attempt) or held.assumes_movements(attempt)
                if shown.transfer_id and is_unseen:
                    await self._movements.read(held, attempt, charge)
            await self._store.save(held, point="settlement.charge", now=self._now(), release=True)

    async def _read_doubts(self, payment: MirroredPayment) -> None:
        """Ask whether what a payment is held back for is over: the event that says so may be lost, or was never sent.

        While Stripe does not answer, or not to this key, it stays held back, and the next look asks again.
        """
        key = (payment.tenant_id, payment.payment_id)
        held = await self._store.leases.acquire(key, until=patience(wait_max_s=WAIT_MAX_S))
        before = held.observation.mirror_version
        async with self._store.leases.holding(held):
            doubts = [(one.intent_id, notice) for one in held.intents.values() for notice in one.notices]
            with suppress(Unavailable, ResourceExhausted):
                for intent_id, (object_id, event_type) in doubts:
                    is_over = self._provider.radar.is_over(object_id)
                    if await crash_points.call("settlement.radar.stripe", is_over):
                        held.notice(object_id, event_type, about=[intent_id], is_over=True)
            is_new = held.observation.mirror_version > before
            await self._store.save(
                held, point="settlement.radar", now=self._now(), release=True, deliver=DOUBTED if is_new else None
            )

    def _rest(self, left: Sequence[Step]) -> timedelta:
        """Return how long nothing can be done."""
        now = self._now()
        rests = [
            step.until - now if step.until is not None else RESTS.get(step.reason, REST_MAX)
            for step in left
            if isinstance(step, Wait)
        ]
        if len(rests) < len(left):  # it was not due under the lease, or others have their turn
            rests.append(REST)
        return max(timedelta(0), min(rests))


def _is_on_assumed(payment: MirroredPayment, move: Movement) -> bool:
    """Whether it goes back on what only its charge was seen of."""
    on = payment.movements.get(move.of_movement_id)
    return on is not None and on.is_assumed


def _is_of_charge(step: Step) -> bool:
    return isinstance(step, Wait) and step.reason is WaitReason.CHARGE

"""SyncPayment: what a payer may ask as often as they like, and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2
from services.orchestrator.domain.plan import Plan, Stage
from services.orchestrator.held_payments import HeldPayments
from services.orchestrator.peers import Peers
from services.orchestrator.steps import Steps
from services.orchestrator.transition_outbox import TransitionOutbox
from services.runtime import crash_points
from services.runtime.rpc import call_context
from services.runtime.rpc.callers import Callers
from services.runtime.rpc.limits import CallerLimits, Limits
from services.runtime.work.shared_readings import SharedReadings
from services.shared.states import State

PAUSE_S: Final = 0.5
"""Between two readings of one payment. The first is made at once; a page that asks without end causes two a second."""

OF_ONE_PAYER: Final = CallerLimits(in_flight_max=8, rate_per_s=2.0, burst=20)
"""Syncs of one payer that are read, whichever payments they are of: a reading costs as much as a payment's step. Twenty
pages come back from their banks at once; one that asks every second is served all day."""


class Syncs:
    """Reads payments again at Stripe: each once at a time, one reading for all who ask for it meanwhile."""

    def __init__(self, payments: HeldPayments, steps: Steps, outbox: TransitionOutbox, peers: Peers) -> None:
        self._payments = payments
        self._steps = steps
        self._outbox = outbox
        self._peers = peers
        self._readings: SharedReadings[orchestrator_pb2.SyncPaymentResponse] = SharedReadings(pause_s=PAUSE_S)
        self._callers = Callers(Limits(people=OF_ONE_PAYER), clock=asyncio.get_running_loop().time)

    async def sync(self, plan: Plan) -> orchestrator_pb2.SyncPaymentResponse:
        """Read a payment again, and return it as it stands afterwards.

        One that was paid and is over is not read for its payer: nothing changes for them any more that is not
        delivered, unless status has lost what it recorded of it. Services and operators have it read all the same. One
        that ended without money is read: money that came late, and whose webhook was lost, is seen by this alone.
        """
        if not plan.has_intent or (call_context.current_access().own_only and is_over(plan)):
            payment = await self._peers.status.payment(plan.payment_id)
            if payment.revision >= plan.revision or not plan.has_intent:
                return orchestrator_pb2.SyncPaymentResponse(payment=payment)
        key = (plan.tenant_id, plan.payment_id)
        entered = await self._callers.enter(call_context.current_caller(), call_context.current_access())
        try:
            return await self._readings.ask(key, partial(self._read, *key))
        finally:
            self._callers.leave(entered)

    @asynccontextmanager
    async def draining(self) -> AsyncIterator[None]:
        """At the end of the block stop what is still read."""
        async with self._readings.draining():
            yield

    async def _read(self, tenant_id: str, payment_id: str) -> orchestrator_pb2.SyncPaymentResponse:
        answer = await crash_points.call("sync.gateway", self._peers.gateway.sync_intent(payment_id))
        plan = await self._payments.acquire(tenant_id, payment_id)
        async with self._payments.holding(plan) as work:
            work.apply(answer.observation)
            self._steps.apply_delivered(work)
            await self._outbox.flush_outbox(work)
            response = orchestrator_pb2.SyncPaymentResponse(payment=await self._outbox.payment(work))
            await work.save("sync.release", release=True)
        if answer.redirect_url is not None:
            response.next_action.redirect_url = answer.redirect_url
        return response


def is_over(plan: Plan) -> bool:
    """Whether a payment was paid, and nothing of it is on its way or in doubt."""
    amounts = plan.latest_snapshot.amounts
    return (
        plan.stage is Stage.ENDED
        and plan.latest_snapshot.collection is State.SUCCEEDED
        and not plan.pending
        and plan.observed_version <= plan.mirror_version
        and amounts.refund_pending_minor == 0
        and amounts.disputed_open_minor == 0
        and not plan.latest_snapshot.attentions
    )

"""What status has to record of a held payment: sent oldest first, kept until it is recorded, rejected for an operator.

A transition has an id that is derived from what made it so, so that sending it twice records it once. Steps are saved
before they are sent. What follows from an observation may be sent first and saved with the answer
(`UnitOfWork.may_record_first`), since whoever comes after a crash derives it again. In between the process may die

- before status has it: nobody heard of it, and the next holder hears the observation again, or a newer one;
- after status has it, before it is saved: the next holder hears so from status, goes on from there, and applies the
  newest observation of the gateway's to that: the same one changes nothing, a newer one is the next revision. What it
  holds itself may be older, and would take the payment back;
- or stand still, and be overtaken: half a lease after it last held the payment for certain it saves first, and finds
  the lease lost. If it stands still right there, status takes it only at the revision that it was derived from, where
  it is true; the other holder gets `RevisionMoved`, and goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final

from batzen.status.v1 import status_pb2
from services.errors import DependencyUnavailable, PeerUnavailable
from services.orchestrator.domain import transitions
from services.orchestrator.domain.payment import Observation
from services.orchestrator.domain.plan import Plan, Transition
from services.orchestrator.domain.recovery import RECOVERIES, Interruption
from services.orchestrator.metrics import UNCOUNTED, OrchestratorMetrics
from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.peers.refusals import RevisionMoved
from services.orchestrator.peers.status import Status
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.payments import observed_at, snapshot
from services.orchestrator.wire.responses import unrecorded_payment
from services.runtime import crash_points
from services.shared.payment import Attention
from services.shared.refusals import Refusal
from services.shared.states import AttentionReason

STATE_MISMATCH_TRIES: Final = RECOVERIES[Interruption.STATE_MISMATCH].tries or 1
"""Of one transition, when status is at another revision than the plan."""

_logger = logging.getLogger(__name__)


class TransitionOutbox:
    """Sends the outboxes of held payments."""

    def __init__(
        self,
        status: Status,
        gateway: Gateway,
        *,
        now: Callable[[], datetime],
        metrics: OrchestratorMetrics = UNCOUNTED,
    ) -> None:
        self._status = status
        self._gateway = gateway
        self._now = now
        self._metrics = metrics

    async def flush_outbox(self, work: UnitOfWork) -> None:
        """Send the outbox to status, oldest first.

        Raises `DependencyUnavailable` and saves the rest when status is away. What status refuses for good is rejected
        and needs an operator; what comes later is still sent.
        """
        while work.has_pending:
            if work.has_unsaved and not work.may_record_first:
                await work.save("say.outbox")
            try:
                await self._record(work, work.pending[0])
            except DependencyUnavailable:
                if work.has_unsaved:
                    await work.save("say.outbox")
                raise
        if work.plan.rejected:
            await self._notify_operator(work)

    async def try_flush_outbox(self, work: UnitOfWork) -> None:
        """Send the outbox as far as status can be reached; whoever holds the payment next sends the rest."""
        try:
            await self.flush_outbox(work)
        except DependencyUnavailable:
            _logger.warning("status has not recorded everything of %s yet", work.plan.payment_id)

    @asynccontextmanager
    async def flushing(self, work: UnitOfWork) -> AsyncIterator[None]:
        """Send the outbox beside what is done inside, and leave when both are done."""
        task = asyncio.create_task(self.try_flush_outbox(work))
        try:
            yield
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            await asyncio.wait({task})
            failure = None if task.cancelled() else task.exception()
        if failure is not None:
            raise failure

    async def payment(self, work: UnitOfWork) -> status_pb2.Payment:
        """Return the payment as status has it; while status is away, as one whose outcome is not recorded yet.

        Where status has less than it once answered, as with a database that lost its last commits, the newest is
        recorded again: nobody else would.
        """
        if work.payment is None and not work.has_pending:
            work.payment = await self._status.payment(work.plan.payment_id)
            if work.payment.revision < work.plan.revision:
                _logger.error("status lost what it recorded of %s, which is recorded again", work.plan.payment_id)
                work.repeat(work.payment)
                await self.try_flush_outbox(work)
        if work.has_pending or work.payment is None:
            return unrecorded_payment(work.plan)
        return work.payment

    async def _record(self, work: UnitOfWork, transition: Transition) -> None:
        """Have status record a transition, or reject it if status refuses it for good."""
        plan = work.plan
        try:
            answer = await self._answer(work, transition)
        except Refusal as refusal:
            if refusal.status == "NOT_FOUND":
                raise PeerUnavailable(dependency="status") from refusal  # it was opened: status lost something
            if work.is_unsaved(transition):
                await work.save("say.outbox")
            _logger.error("status refused %s of %s: %s", transition.fact, plan.payment_id, refusal.reason)
            work.rejected(transition, refusal.reason)
            await work.save("say.refused")
            return
        if answer is None:
            return
        if answer.payment.revision == answer.transition.revision:
            work.recorded(transition, answer)
            self._count(plan, transition)
            return
        # It was recorded before, and status has more. What is newest is asked first: without it, this stays pending.
        newest = await self._newest(work) if work.is_superseded(recorded=transition) else None
        work.recorded(transition, answer)
        work.rebase(answer.payment, snapshot(answer.payment.snapshot), newest)

    async def _answer(self, work: UnitOfWork, transition: Transition) -> status_pb2.RecordTransitionResponse | None:
        """Return what status answers; None where it holds more than the plan knew of, and the plan goes on from that.

        Raises `RevisionMoved` when it is not the next one however often the revision is put right.
        """
        plan = work.plan
        for left in reversed(range(STATE_MISMATCH_TRIES)):
            try:
                return await crash_points.call("say.status", self._status.record(plan, transition))
            except RevisionMoved as moved:
                if work.is_superseded():
                    truth = await self._status.payment(plan.payment_id)
                    work.rebase(truth, snapshot(truth.snapshot), await self._newest(work))
                    await work.save("say.revision")
                    return None
                if not left:
                    raise
                # Nobody but us writes, so the answer to an earlier one of ours was lost. Saving makes sure that it
                # still is ours to go on.
                plan.revision = moved.current_revision
                await work.save("say.revision")
        return None

    def _count(self, plan: Plan, transition: Transition) -> None:
        """Count how long it took to record what was delivered, if it was."""
        if self._metrics.is_on and plan.observation is not None and transition.follows(plan.observed_version):
            age = self._now() - observed_at(plan.observation)
            self._metrics.recorded(seconds=age.total_seconds())

    async def _newest(self, work: UnitOfWork) -> Observation | None:
        """Return the newest that the gateway has seen of a payment; None of one that has no intent."""
        if not work.has_seen_intent:
            return None
        try:
            return (await crash_points.call("say.newest", self._gateway.intent(work.plan.payment_id))).observation
        except Refusal as refusal:  # no caller asked for that, so it is no answer to any
            raise PeerUnavailable(dependency="gateway") from refusal

    async def _notify_operator(self, work: UnitOfWork) -> None:
        """Record that something was rejected, on the ground of what status holds for true."""
        plan = work.plan
        truth = await self._status.payment(plan.payment_id)
        # What needs an operator is ours to keep, whether status has it or not.
        attentions = plan.latest_snapshot.attentions
        plan.revision, plan.latest_snapshot = truth.revision, replace(snapshot(truth.snapshot), attentions=attentions)
        detail = f"Status refused {', '.join(plan.rejected)}."
        attention = Attention(reason=AttentionReason.TRANSITION_REFUSED, detail=detail)
        work.enqueue(transitions.parked(plan.latest_snapshot, attention), f"refused:{plan.rejected[-1]}")
        plan.rejected = []
        await work.save("say.parked", operator_notified=True)
        await self._record(work, work.pending[-1])
        if plan.rejected:  # that, too: it is tried again, ever more seldom
            raise PeerUnavailable(dependency="status")

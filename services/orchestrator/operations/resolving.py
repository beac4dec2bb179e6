"""What an operator decides of a payment is carried out on the held payment, by way.

A request that was found to fit is marked as calling, together with what it takes off the payment ("begin"): from there
on it is only carried on, whoever does so. What is left where the process dies:

- Before the begin, the request: it is decided anew, by how the payment stands then.
- After it, CALLING, and what is taken off is in the outbox: carried on, and nothing is taken off again.
- SETTLE_AS_SEEN, before or after Stripe was read: read again, and what is known already is nothing new.
- CANCEL, at any line: what the cancelled attempt means was saved before the gateway is asked; it is asked under an id
  made of attempt and version, and a payment that is cancelled by then is the answer.
- REFUND_SURPLUS, before the refund was asked for: what is left of each attempt is looked at anew. After it was asked
  for, whatever came back: the refund is in the gateway's row, so nothing is left, or the same is asked under the same
  id, and hears what became of it.
- GIVE_UP_TRANSITIONS, before the begin: the rows are marked with this request, and the same rows are marked again.
- After the outcome was saved: status hears what is in the outbox, and the answer is kept.

A refund is one per attempt, amount and request: Stripe hears of it under a key of the gateway's that is made of that.
What answers late is found by the look, since what is on its way back is not left; what never answers stays open, and so
does the request.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

from services.errors import FieldInvalid, PeerUnavailable
from services.orchestrator.captures import Captures
from services.orchestrator.commands.cancel import cancel_payment
from services.orchestrator.domain import transitions
from services.orchestrator.domain.errors import (
    LedgerContradicted,
    PaymentState,
    RefundableChanged,
    RefundRefused,
    ResolutionDoesNotFit,
)
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.plan import Plan, Request
from services.orchestrator.domain.resolution import READS_STRIPE, Decision, Resolution, clearable, fits, fitting
from services.orchestrator.due_steps.registry import DueSteps
from services.orchestrator.fraud_refunds import FraudRefunds
from services.orchestrator.peers import Peers
from services.orchestrator.peers.gateway import Left
from services.orchestrator.steps import Steps
from services.orchestrator.storage.store import Store
from services.orchestrator.surplus import Surplus
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime import crash_points
from services.shared.refusals import Refusal
from services.shared.states import AttentionReason
from services.wire import amounts

Way = Callable[[UnitOfWork, Request, Decision], Awaitable[None]]


class Resolving:
    """Carries decisions out."""

    def __init__(
        self,
        store: Store,
        steps: Steps,
        captures: Captures,
        outbox: TransitionOutbox,
        peers: Peers,
        *,
        due_steps: DueSteps,
        surplus: Surplus,
        fraud_refunds: FraudRefunds,
    ) -> None:
        self._store = store
        self._steps = steps
        self._captures = captures
        self._outbox = outbox
        self._peers = peers
        self._due_steps = due_steps
        self._surplus = surplus
        self._fraud_refunds = fraud_refunds
        self._ways: Final[Mapping[Resolution, Way]] = {
            Resolution.SETTLE_AS_SEEN: self._settle_as_seen,
            Resolution.CANCEL: self._cancel,
            Resolution.REFUND_SURPLUS: self._refund_surplus,
            Resolution.GIVE_UP_TRANSITIONS: _nothing_more,
            Resolution.CLEAR_ATTENTION: _nothing_more,
            Resolution.TRY_NOW: self._try_now,
        }

    async def resolve(self, work: UnitOfWork, request: Request, decision: Decision) -> None:
        """Carry out what was decided; what does not fit is refused before anything is done."""
        if not request.calling:
            await self._begin(work, request, decision)
        await self._ways[decision.resolution](work, request, decision)
        await self._outbox.try_flush_outbox(work)
        if decision.resolution in READS_STRIPE:  # what was done of all others was found to fit before
            _refuse_other_than_expected(work.plan, decision)

    async def _begin(self, work: UnitOfWork, request: Request, decision: Decision) -> None:
        """Refuse what does not fit; save that the request is carried out, and what it takes off."""
        plan, resolution = work.plan, decision.resolution
        if resolution is Resolution.CANCEL:
            await self._captures.settle(work)  # one that was decided before comes first
        if not fits(plan, resolution, reasons=decision.reasons):
            raise ResolutionDoesNotFit(resolutions=",".join(fitting(plan)))
        taken_off = set(decision.reasons)
        if decision.clear_attention or (resolution is Resolution.CLEAR_ATTENTION and not decision.reasons):
            taken_off |= clearable(plan)
        if resolution is Resolution.REFUND_SURPLUS:
            await self._check_surplus(work, decision)
        if resolution is Resolution.GIVE_UP_TRANSITIONS:
            await self._refuse_contradiction(work)
        if resolution not in READS_STRIPE:  # after what was just seen; from here on it is done
            _refuse_other_than_expected(plan, decision)
        if resolution is Resolution.GIVE_UP_TRANSITIONS:
            await self._store.give_up(plan, given_up_by=uuid.UUID(request.derived_id))
            taken_off.add(AttentionReason.TRANSITION_REFUSED)
        if any(one.reason in taken_off for one in plan.latest_snapshot.attentions):
            plan.course = replace(plan.course, came_late=plan.came_late)  # attention off a late hold captures nothing
            work.enqueue(transitions.resolved(plan.latest_snapshot, taken_off), f"operator:{request.derived_id}")
        await work.save("resolve.begin", request=request)

    async def _refuse_contradiction(self, work: UnitOfWork) -> None:
        """Raise `LedgerContradicted` while status says something else of the money than the books of the gateway do."""
        plan = work.plan
        if not plan.has_intent:
            return
        newest = await crash_points.call("resolve.newest", self._peers.gateway.intent(plan.payment_id))
        work.apply(newest.observation)
        await self._outbox.flush_outbox(work)
        payment = await self._outbox.payment(work)
        if amounts(payment.snapshot) != newest.observation.amounts:
            raise LedgerContradicted(state=plan.latest_snapshot.collection)

    async def _check_surplus(self, work: UnitOfWork, decision: Decision) -> None:
        """Raise `RefundableChanged` where another surplus is left than the operator saw."""
        if decision.expected_surplus_currency != work.plan.currency_code:
            raise FieldInvalid(
                field="expected_surplus.currency_code", detail=f"must be {work.plan.currency_code}, as the payment is"
            )
        left = await self._look(work)
        surplus_minor = work.plan.latest_snapshot.amounts.surplus_minor
        if not left:
            raise ResolutionDoesNotFit(resolutions=",".join(_without_surplus(work.plan)))
        if decision.expected_surplus_minor != surplus_minor:
            raise RefundableChanged(field="expected_surplus", refundable_minor=surplus_minor)

    async def _look(self, work: UnitOfWork) -> list[Left]:
        looking = self._peers.gateway.surplus(work.plan.payment_id)
        seen, left = await crash_points.call("resolve.look", looking)
        work.apply(seen)
        return left

    async def _settle_as_seen(self, work: UnitOfWork, request: Request, decision: Decision) -> None:
        reading = self._peers.gateway.sync_intent(work.plan.payment_id)
        work.apply((await crash_points.call("resolve.sync", reading)).observation)
        await work.save("resolve.outcome")

    async def _cancel(self, work: UnitOfWork, request: Request, decision: Decision) -> None:
        try:
            await cancel_payment(work, request, steps=self._steps, outbox=self._outbox)
        except PaymentState as refusal:
            raise LedgerContradicted(state=work.plan.latest_snapshot.collection) from refusal

    async def _refund_surplus(self, work: UnitOfWork, request: Request, decision: Decision) -> None:
        """Give back what is left of each attempt that does not count; what Stripe refuses does not stop the others.

        Where more came after it was begun, the operator has not seen it, and decides anew.
        """
        plan, refused, left = work.plan, "", await self._look(work)
        if sum(one.refundable_minor for one in left) > decision.expected_surplus_minor:
            raise RefundableChanged(
                field="expected_surplus", refundable_minor=plan.latest_snapshot.amounts.surplus_minor
            )
        for one in left:
            fact = f"operator:{request.derived_id}:surplus:{one.attempt}:{one.refundable_minor}"
            refunding = self._peers.gateway.create_refund(
                plan,
                request_id=str(derived_id(plan.payment_id, fact)),
                attempt=one.attempt,
                amount_minor=one.refundable_minor,
                expected_refundable_minor=one.refundable_minor,
                reason="REASON_DUPLICATE",
                reverse_transfer=True,
                refund_application_fee=True,
                actor_id=decision.actor_id,
            )
            try:
                work.apply((await crash_points.call("resolve.refund", refunding)).observation)
            except Refusal as refusal:
                if refusal.reason == RefundableChanged.reason:  # it went back by somebody else meanwhile: look anew
                    raise PeerUnavailable(dependency="gateway") from refusal
                refused = refusal.metadata.get("code", refusal.reason)
        await work.save("resolve.outcome")
        if refused:
            raise RefundRefused(code=refused)

    async def _try_now(self, work: UnitOfWork, request: Request, decision: Decision) -> None:
        """Do what the sweep would. What others asked for comes first: a step of the plan waits until that is answered.

        So a hold that is about to be let go of is not captured, whose cancel only waits for its answer.
        """
        plan = work.plan
        asked = await self._store.open_requests(plan.tenant_id, plan.payment_id)
        if all(one.key == request.key for one in asked):
            await self._due_steps.take(work)
        await self._surplus.settle(work)
        await self._fraud_refunds.settle(work)
        await self._outbox.flush_outbox(work)
        await self._steps.unpark_if_moving(work)


async def _nothing_more(work: UnitOfWork, request: Request, decision: Decision) -> None:
    """It is done with the begin."""


def _refuse_other_than_expected(plan: Plan, decision: Decision) -> None:
    collection = plan.latest_snapshot.collection
    if decision.expected not in (None, collection):
        raise LedgerContradicted(state=collection)


def _without_surplus(plan: Plan) -> list[Resolution]:
    return [one for one in fitting(plan) if one is not Resolution.REFUND_SURPLUS]

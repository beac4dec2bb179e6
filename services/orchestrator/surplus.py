"""What comes of attempts that do not count: one that is still open is closed, and what one took goes back by policy.

An attempt is cancelled or expired at Stripe before the next one is made, so this is for what Stripe let happen all the
same. What the process may leave when it dies: before Stripe is asked, the payment, due as before; after that, before it
is saved, the same: asked again under the same id, the gateway answers from its row, and nothing goes back twice, since
what is left of each attempt is read first.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from services.orchestrator.domain import surplus
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.surplus import SurplusRefund
from services.orchestrator.peers import Peers
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime import crash_points
from services.shared.refusals import Refusal

ACTOR: Final = "surplus_policy"
"""Who decided on such a refund, as it is kept with it."""

_logger = logging.getLogger(__name__)


class Surplus:
    """Puts right what came on other attempts."""

    def __init__(self, peers: Peers, *, policy: SurplusRefund) -> None:
        self._peers = peers
        self.policy = policy

    async def settle(self, work: UnitOfWork) -> None:
        """Do on a held payment what is due; what was refused for good is left to the operator who sees it."""
        plan = work.plan
        if surplus.leaves_attempt_open(plan):
            await self._close(work)
        if not surplus.has_more(plan):
            return
        if self.policy is SurplusRefund.AT_ONCE:
            await self._give_back(work)
        # What went back is not left any more: as much that comes once more is decided on anew.
        plan.course = replace(plan.course, surplus_minor=plan.latest_snapshot.amounts.surplus_minor)

    async def _close(self, work: UnitOfWork) -> None:
        """Cancel or expire the attempt that came after the one that was paid."""
        plan = work.plan
        fact = f"step:close:{plan.attempt}:{plan.mirror_version}:{plan.failures}"
        closing = self._peers.gateway.cancel_intent(
            plan, request_id=str(derived_id(plan.payment_id, fact)), reason="DUPLICATE"
        )
        try:
            work.apply((await crash_points.call("surplus.close", closing)).observation)
        except Refusal as refusal:  # its money came, too
            _logger.warning("%s has another attempt: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
            sync = self._peers.gateway.sync_intent(plan.payment_id)
            work.apply((await crash_points.call("surplus.sync", sync)).observation)
        plan.course = replace(plan.course, closed_attempt=plan.attempt)

    async def _give_back(self, work: UnitOfWork) -> None:
        """Give back what other attempts took, each its own, from the seller and the platform alike."""
        plan = work.plan
        seen, left = await crash_points.call("surplus.look", self._peers.gateway.surplus(plan.payment_id))
        work.apply(seen)  # what went back for a process that died over it
        for one in left:
            fact = f"step:surplus:{one.attempt}:{one.refundable_minor}"
            refunding = self._peers.gateway.create_refund(
                plan,
                request_id=str(derived_id(plan.payment_id, fact)),
                attempt=one.attempt,
                amount_minor=one.refundable_minor,
                expected_refundable_minor=one.refundable_minor,
                reason="REASON_DUPLICATE",
                reverse_transfer=True,
                refund_application_fee=True,
                actor_id=ACTOR,
            )
            try:
                work.apply((await crash_points.call("surplus.gateway", refunding)).observation)
            except Refusal as refusal:
                _logger.error(
                    "%s keeps what attempt %d took: %s %s",
                    plan.payment_id,
                    one.attempt,
                    refusal.reason,
                    refusal.metadata,
                )

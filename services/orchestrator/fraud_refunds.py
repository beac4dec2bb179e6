"""Refunds by policy of payments that the card's issuer warns of: all that is refundable, once, before it is disputed.

What a process leaves that dies: before the gateway is asked, the payment, due as before; after that, before it is
saved, the same: what is refundable is read anew, and nothing is, since what is on its way back does not count. Two that
read the same ask under the same id. The attention stays until Stripe says that the warning is over.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from services.errors import PeerUnavailable
from services.orchestrator.domain import fraud_warnings
from services.orchestrator.domain.errors import RefundableChanged
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.peers import Peers
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime import crash_points
from services.shared.refusals import Refusal

ACTOR: Final = "policy:early_fraud_warning"
"""Who decided on such a refund, as it is kept with it."""

_logger = logging.getLogger(__name__)


class FraudRefunds:
    """Gives back what a dispute would take."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def settle(self, work: UnitOfWork) -> None:
        """Do on a held payment what is due; what is refused for good is left to the operator who sees the warning."""
        plan = work.plan
        if not fraud_warnings.is_due(plan):
            return
        looking = self._peers.gateway.refundable(plan.payment_id)
        seen, refundable_minor = await crash_points.call("fraud.look", looking)
        work.apply(seen)
        if not fraud_warnings.is_due(plan):
            return  # the warning is over by now, and as nothing was done for it, another one counts
        if refundable_minor:
            await self._give_back(work, refundable_minor)
        plan.course = replace(plan.course, fraud_refunded=True)

    async def _give_back(self, work: UnitOfWork, refundable_minor: int) -> None:
        plan = work.plan
        fact = f"step:fraud_warning:{plan.attempt}:{refundable_minor}"
        refunding = self._peers.gateway.create_refund(
            plan,
            request_id=str(derived_id(plan.payment_id, fact)),
            amount_minor=refundable_minor,
            expected_refundable_minor=refundable_minor,
            reason="REASON_FRAUDULENT",
            reverse_transfer=True,
            refund_application_fee=True,
            actor_id=ACTOR,
        )
        try:
            work.apply((await crash_points.call("fraud.gateway", refunding)).observation)
        except Refusal as refusal:
            if refusal.reason == RefundableChanged.reason:  # somebody else was faster: it is looked at anew
                raise PeerUnavailable(dependency="gateway") from refusal
            _logger.error("%s is not refunded: %s %s", plan.payment_id, refusal.reason, refusal.metadata)

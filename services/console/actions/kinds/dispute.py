"""Give a dispute up: what is contested is the payer's for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from batzen.gateway.v1.disputes_pb2 import AcceptDisputeRequest, Dispute, GetDisputeRequest
from batzen.status.v1.status_pb2 import Payment
from services.console.actions.domain import Ask, Input, Preview
from services.console.actions.kinds import TIMEOUT_S, Action
from services.console.amounts import sum_of
from services.console.desk import Visit
from services.console.payments.shown import words
from services.web.failures import Refusal

FIELD: Final = "dispute"
CLOSED: Final = (Dispute.STATE_WON, Dispute.STATE_LOST, Dispute.STATE_CLOSED, Dispute.STATE_PREVENTED)


class AcceptDispute(Action):
    """Gives a dispute of a payment up."""

    key = "accept-dispute"
    title = "Give the dispute up"
    button = "Give up"
    method = "AcceptDispute"

    def inputs(self, payment: Payment, given: Mapping[str, str]) -> Sequence[Input]:
        """Return nothing: the dispute's own page leads here."""
        return ()

    def read(self, payment: Payment, given: Mapping[str, str]) -> Ask:
        """Return which dispute; what is lost by it is read where disputes are kept, and never taken from a form."""
        dispute_id = given.get(FIELD, "")
        if not dispute_id:
            raise Refusal(400, "FIELD_MISSING", field=FIELD, explanation="Choose a dispute first.")
        return Ask(action=self.key, payment_id=payment.payment_id, fields={FIELD: dispute_id}, moved=None)

    async def weigh(self, visit: Visit, ask: Ask) -> Ask:
        """Return the ask with what is contested."""
        dispute = await _dispute(visit, ask)
        if dispute.payment_id != ask.payment_id:
            raise Refusal(404, "DISPUTE_NOT_FOUND", explanation="The payment has no such dispute.")
        return replace(ask, moved=dispute.amount)

    async def outcome(self, visit: Visit, ask: Ask, request_id: str) -> str | None:
        """Return what became of it, as the dispute stands: who gave one up is kept with it."""
        dispute = await _dispute(visit, ask)
        if dispute.accept_actor_id:
            return ""
        return "DISPUTE_CLOSED" if dispute.state in CLOSED else None

    async def preview(self, visit: Visit, payment: Payment, ask: Ask) -> Preview:
        """Return what is lost."""
        dispute = await _dispute(visit, ask)
        return Preview(
            consequences=(
                f"{sum_of(dispute.amount)} are the payer’s for good, and the dispute is lost.",
                "It cannot be taken back.",
            ),
            lines=(
                ("Dispute", dispute.dispute_id),
                ("Reason", words(dispute.reason)),
                ("Withdrawn and not given back", sum_of(dispute.outstanding)),
            ),
        )

    async def run(self, visit: Visit, ask: Ask, *, request_id: str, reason: str) -> None:
        """Accept it."""
        request = AcceptDisputeRequest(
            request_id=request_id, dispute_id=ask.fields[FIELD], actor_id=visit.session.subject
        )
        await visit.calls.disputes.AcceptDispute(request, metadata=visit.word, timeout=TIMEOUT_S)


async def _dispute(visit: Visit, ask: Ask) -> Dispute:
    request = GetDisputeRequest(dispute_id=ask.fields[FIELD])
    answer = await visit.calls.disputes.GetDispute(request, metadata=visit.word)
    return answer.dispute

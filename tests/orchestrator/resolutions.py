"""What operators ask for, and payments about which there is something to decide."""

from __future__ import annotations

from typing import Any

from batzen.orchestrator.v1 import ops_pb2 as pb
from services.orchestrator.domain.resolution import Resolution
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.samples import TOTAL_MINOR, cancel, chf, new_id


def resolve(payment_id: str, resolution: Resolution, **changes: Any) -> pb.ResolvePaymentRequest:
    fields: dict[str, Any] = {
        "request_id": new_id(),
        "payment_id": payment_id,
        "actor_id": "anna",
        "reason": "I looked at it.",
        "resolution": f"RESOLUTION_{resolution}",
    }
    if resolution is Resolution.REFUND_SURPLUS:
        fields["expected_surplus"] = chf(TOTAL_MINOR)
    return pb.ResolvePaymentRequest(**(fields | changes))


async def paid_late(replica: Orchestrator, journeys: Journeys) -> str:
    """Return a payment whose money came after it was cancelled, of which an operator has to hear."""
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.orchestrator.CancelPayment(cancel(payment_id))
    await journeys.stripe.force(intent["id"], "succeeded")
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    return payment_id

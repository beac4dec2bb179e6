"""The gateway's examinations: what it keeps of payments, and whether that agrees with itself and with Stripe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from batzen.gateway.v1 import diagnosis_pb2
from batzen.gateway.v1.diagnosis_pb2_grpc import DiagnosisServiceStub
from services.orchestrator.diagnosis.domain import Examination
from services.orchestrator.peers.gateway import PEER
from services.orchestrator.peers.refusals import answered
from services.orchestrator.wire.diagnosis import examination
from services.wire import timestamp


class Examinations:
    """What is asked of the gateway about its records."""

    def __init__(self, stub: DiagnosisServiceStub) -> None:
        self._stub = stub

    async def of(self, payment_ids: Sequence[str], *, with_stripe: bool = False) -> dict[str, Examination]:
        """Return what it says of payments, without those that it does not know."""
        asked = diagnosis_pb2.ExaminePaymentsRequest(payment_ids=payment_ids, with_stripe=with_stripe)
        answer = await answered(self._stub.ExaminePayments(asked), PEER)
        return {one.payment_id: examination(one) for one in answer.examinations}

    async def booked(self, *, since: datetime, until: datetime, after: str, at_most: int) -> list[str]:
        """Return the payments of which money was booked in a span, in the order of their ids."""
        asked = diagnosis_pb2.ListBookedPaymentsRequest(
            start_time=timestamp(since), end_time=timestamp(until), after_payment_id=after, page_size=at_most
        )
        return list((await answered(self._stub.ListBookedPayments(asked), PEER)).payment_ids)

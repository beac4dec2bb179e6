"""The platform's own check of bookings, if it has one: asked before a payer pays for them."""

from __future__ import annotations

import logging
from typing import Final

from batzen.orchestrator.v1 import booking_check_pb2 as pb
from batzen.orchestrator.v1.booking_check_pb2_grpc import BookingCheckServiceStub
from services.errors import DependencyUnavailable, PeerUnavailable
from services.orchestrator.domain.errors import BookingNotPayable
from services.orchestrator.domain.plan import Plan
from services.orchestrator.metrics import UNCOUNTED, CheckOutcome, OrchestratorMetrics
from services.orchestrator.peers.refusals import answered
from services.runtime import crash_points
from services.shared.refusals import Refusal
from services.wire import money

PEER: Final = "booking check"
TIMEOUT_S: Final = 2.0
"""How long the platform has for its answer. A payer waits for it, so it is short."""
DETAIL_CHARACTERS_MAX: Final = 200
"""Of the platform's words; what is longer is cut, since it goes with the refusal in a header."""

_logger = logging.getLogger(__name__)


class BookingCheck:
    """What is asked of the platform."""

    def __init__(
        self,
        stub: BookingCheckServiceStub | None,
        *,
        allow_on_silence: bool = False,
        metrics: OrchestratorMetrics = UNCOUNTED,
    ) -> None:
        """Without a `stub` every booking may be paid for; `allow_on_silence` says so while nothing is answered."""
        self._stub = stub
        self._allow_on_silence = allow_on_silence
        self._metrics = metrics

    @property
    def is_asked(self) -> bool:
        """Whether the platform has a check at all."""
        return self._stub is not None

    async def check_payable(self, plan: Plan, *, booking_ids: tuple[str, ...] | None = None) -> None:
        """Raise `BookingNotPayable` where the platform refuses a payment's bookings, or those that it is to have.

        Where it does not answer, or not as it should, `DependencyUnavailable` is raised, unless the payment may go
        ahead then.
        """
        asked = plan.booking_ids if booking_ids is None else booking_ids
        if self._stub is None or not asked:
            return
        request = pb.CheckPayableRequest(
            tenant_id=plan.tenant_id,
            payment_id=plan.payment_id,
            payer_id=plan.payer_id,
            booking_ids=asked,
            total=money(plan.total_minor or 0, plan.currency_code or ""),
        )
        try:
            checking = answered(self._stub.CheckPayable(request, timeout=TIMEOUT_S), PEER)
            answer = await crash_points.call("booking.check", checking)
        except (DependencyUnavailable, Refusal) as silence:
            self._metrics.checked(CheckOutcome.SILENT)
            if not self._allow_on_silence:
                raise PeerUnavailable(dependency=PEER) from silence
            _logger.warning("%s goes ahead without an answer of the booking check: %s", plan.payment_id, silence)
            return
        self._metrics.checked(CheckOutcome.PAYABLE if answer.payable else CheckOutcome.REFUSED)
        if not answer.payable:
            raise BookingNotPayable(booking_id=answer.booking_id, explanation=answer.detail[:DETAIL_CHARACTERS_MAX])

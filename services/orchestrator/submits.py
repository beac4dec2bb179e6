"""Whether a payer may submit at all, asked before a submit is written down: what is refused here is not kept."""

from __future__ import annotations

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.decline_limits import DeclineLimits
from services.orchestrator.storage.store import Store
from services.orchestrator.wire.requests import own_payer, request_key
from services.runtime.rpc import call_context
from services.shared import fields


class Submits:
    """Refuses payers who try out cards."""

    def __init__(self, store: Store, declines: DeclineLimits) -> None:
        self._store = store
        self._declines = declines

    async def check(self, request: pb.SubmitPaymentRequest) -> None:
        """Refuse a submit of a payer's. Raises `HostedCheckoutRequired`, `TooManyDeclines`.

        A repeat is not refused: it is to get its answer. What is wrong with a request otherwise is said by who runs it.
        """
        payer_id = own_payer()
        if payer_id is None:
            return
        fields.payment_id(request.payment_id)
        if await self._store.request(request_key(request)) is not None:
            return
        plan = await self._store.read(call_context.current_tenant(), request.payment_id, payer_id=payer_id)
        if plan is not None:
            await self._declines.check_form(plan)

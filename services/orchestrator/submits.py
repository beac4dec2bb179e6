"""Whether a payer may submit at all, asked before a submit is written down: what is refused here is not kept."""

from __future__ import annotations

from services.orchestrator.decline_limits import DeclineLimits
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.storage.store import Store
from services.orchestrator.wire.requests import own_payer
from services.shared import fields


class Submits:
    """Refuses payers who try out cards."""

    def __init__(self, store: Store, declines: DeclineLimits) -> None:
        self._store = store
        self._declines = declines

    async def check(self, payment_id: str, key: RequestKey) -> None:
        """Refuse a submit of a payer's. Raises `HostedCheckoutRequired`, `TooManyDeclines`.

        A repeat is not refused: it is to get its answer. What is wrong with a request otherwise is said by who runs it.
        """
        payer_id = own_payer()
        if payer_id is None:
            return
        fields.payment_id(payment_id)
        if await self._store.request(key) is not None:
            return
        plan = await self._store.read(key.tenant_id, payment_id, payer_id=payer_id)
        if plan is not None:
            await self._declines.check_form(plan)

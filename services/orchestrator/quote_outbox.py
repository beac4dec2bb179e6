"""Sends pricing what has become of quotes: paid, or not to be paid. Nothing of a payment waits for it.

Pricing hears it of a quote that holds uses of coupons, to spend them or give them back. For any other there is nothing
that it could do: such a quote stays open until its time is over, whatever becomes of its payment.

It was put into the outbox with what made it so, and is sent outside of the payment's lease: pricing that is
away or slow holds up no payment. The same sent twice at once, or in the wrong order, does no harm: pricing takes
each once, and what was redeemed is never released. It is sent until pricing answers, however long that takes.
"""

from __future__ import annotations

import logging

from services.errors import ServiceError
from services.orchestrator.domain.plan import QuoteEnd
from services.orchestrator.domain.policies import PARKED_AFTER_TRIES, RETRY_MAX
from services.orchestrator.domain.quote import OVER_LIMIT, QuoteState
from services.orchestrator.peers.pricing import Pricing
from services.orchestrator.storage.store import Store
from services.runtime import crash_points
from services.runtime.database.lease import LEASE
from services.runtime.work.kinds import RetryPolicy, Work, WorkClass, WorkKind
from services.shared.refusals import Refusal

_logger = logging.getLogger(__name__)


class QuoteOutbox:
    """Sends what is due."""

    def __init__(self, store: Store, pricing: Pricing) -> None:
        self._store = store
        self._pricing = pricing
        self.kind = WorkKind(
            name="quote_ends",
            work_class=WorkClass.DELIVERIES,
            table="quote_outbox",
            key={"payment_id": "text"},
            retry=RetryPolicy(tries_max=None, first_delay=LEASE, delay_max=RETRY_MAX),
            handler=self.send,
        )
        """The outbox as work."""

    async def send(self, work: Work) -> None:
        """Send one, and keep what needs an operator."""
        one = await self._store.quote_end(work.tenant_id, *work.key, fence=work.fence)
        if one is None:
            return
        try:
            problem = await self._answer(one)
        except ServiceError:
            if work.failures + 1 >= PARKED_AFTER_TRIES:
                _logger.error("the end of %s did not reach pricing in %d tries", one.quote_id, work.failures + 1)
            raise
        if problem is None:
            await self._store.quote_heard(one)
        else:
            await self._store.quote_problem(one, problem)

    async def _answer(self, one: QuoteEnd) -> str | None:
        """Send one; return what needs an operator, None if nothing."""
        names = {"payment_id": one.payment_id, "quote_id": one.quote_id}
        try:
            if one.quote_state is QuoteState.REDEEMED:
                is_over = await crash_points.call("quote.redeem", self._pricing.redeem_quote(**names))
                return OVER_LIMIT if is_over else None
            await crash_points.call("quote.release", self._pricing.release_quote(**names))
        except Refusal as refusal:
            if refusal.reason == "QUOTE_REDEEMED":
                return None  # money came late, and was sent first
            _logger.error("pricing rejected that %s is %s: %s", one.quote_id, one.quote_state, refusal.reason)
            return refusal.reason
        return None

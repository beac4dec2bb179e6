"""Tells pricing what has become of quotes: paid, or not to be paid. Nothing of a payment waits for it.

What is to be told was put into the outbox with what made it so. It is told outside of the payment's lease: pricing
away or slow keeps no payment still. Two who tell the same at once, or in the wrong order, do no harm: pricing takes
each once, and what was redeemed is never released.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from services.errors import ServiceError
from services.orchestrator.domain import OVER_LIMIT, PARKED_AFTER_TRIES, REDEEMED
from services.orchestrator.peers import Peers, Refused
from services.orchestrator.statements import QUOTE_BATCH
from services.orchestrator.store import QuoteEnd, Store
from services.runtime import calls, points

TELL_EVERY_S: Final = 0.5
"""Between two looks at what is due: those of a busy moment are told together."""

_logger = logging.getLogger(__name__)


class Quotes:
    """Tells what is due, until cancelled."""

    def __init__(self, store: Store, peers: Peers, *, wake: Callable[[], None], now: Callable[[], datetime]) -> None:
        """Call `wake` when a payment became due by what pricing answered."""
        self._store = store
        self._peers = peers
        self._wake = wake
        self._now = now

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tell while inside."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            told = 0
            try:
                told = await self.once()
            except ServiceError as error:
                _logger.warning("the ends of quotes wait for the database: %s", error)
            except Exception:
                # Whatever it is, a loop that ended here would let coupons wait for ever.
                _logger.exception("the ends of quotes could not be told")
            if told < QUOTE_BATCH:
                await asyncio.sleep(TELL_EVERY_S)

    async def once(self) -> int:
        """Tell what is due now, and return how many quotes that were. What fails is due again later."""
        due = await self._store.claim_quotes(now=self._now())
        outcomes = await asyncio.gather(*(self._tell(one) for one in due), return_exceptions=True)
        heard = []
        for one, outcome in zip(due, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                level = logging.ERROR if one.tries > PARKED_AFTER_TRIES else logging.WARNING
                _logger.log(level, "pricing does not hear of %s yet, after %d tries", one.quote_id, one.tries)
            elif isinstance(outcome, BaseException):
                # One that cannot be told must not stop the others.
                _logger.error("%s could not be told", one.quote_id, exc_info=outcome)
            elif outcome is None:
                heard.append(one)
            else:
                await self._store.quote_problem(one, outcome, now=self._now())
                self._wake()
        if heard:
            await self._store.quotes_heard(heard)
        return len(due)

    async def _tell(self, one: QuoteEnd) -> str | None:
        """Tell pricing of one; return what a person has to hear of it, None if nothing."""
        names = {"payment_id": one.payment_id, "quote_id": one.quote_id}
        with calls.acting_for(one.tenant_id):
            try:
                if one.quote_state == REDEEMED:
                    is_over = await points.call("quote.redeem", self._peers.redeem_quote(**names))
                    return OVER_LIMIT if is_over else None
                await points.call("quote.release", self._peers.release_quote(**names))
            except Refused as refusal:
                if refusal.reason == "QUOTE_REDEEMED":
                    return None  # money came late, and the word of it was quicker
                _logger.error("pricing refused that %s is %s: %s", one.quote_id, one.quote_state, refusal.reason)
                return refusal.reason
        return None

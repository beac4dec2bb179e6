"""Reminds payers of what is charged soon, without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.facts.rules import upcoming_charge
from services.orchestrator.facts.store import FactStore
from services.orchestrator.peers.feed import Feed
from services.runtime import crash_points
from services.runtime.work.kinds import RetryPolicy, Work, WorkClass, WorkKind

BEFORE: Final = timedelta(days=3)
"""How long before a charge its payer is reminded: time to put money into an account, or to cancel."""


class Reminders:
    """Keeps the facts that charges are near, each once for each time of a charge."""

    def __init__(self, facts: FactStore, feed: Feed, *, now: Callable[[], datetime]) -> None:
        self._facts = facts
        self._feed = feed
        self._now = now
        self.kind = WorkKind(
            name="charge_reminders",
            work_class=WorkClass.READS,
            table="followed_payments",
            key={"payment_id": "text"},
            retry=RetryPolicy(tries_max=None, first_delay=timedelta(seconds=2)),
            handler=self.remind,
        )
        """Reminders as work."""

    async def remind(self, work: Work) -> None:
        """Say that a payment is charged soon, if it still is: a cancel may not have been heard of yet."""
        [payment_id] = work.key
        payment = await crash_points.call("charge_reminders.look", self._feed.payment(payment_id))
        fact, now = upcoming_charge(work.tenant_id, payment), self._now()
        if fact is not None and payment.seen.charge_time is not None and payment.seen.charge_time > now:
            await self._facts.keep(work.tenant_id, [replace(fact, occur_time=now)])

"""Tells an operator that an answer to a dispute is due: some days before, once each. Whatever it says is delivered.

The row of a dispute is the work: the mirror's `save` writes when the next warning is due, in the statement that keeps
what was seen. If the process dies in between, the row is due when its lease ends, and the same is said once: what was
said is kept with the dispute.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from services.errors import Aborted, ResourceExhausted, Unavailable
from services.gateway.sync.reader import MirrorReader
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, jittered

RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(minutes=1), delay_max=timedelta(hours=1))
"""A warning is never given up: the date passes."""
REST: Final = timedelta(seconds=30)
"""While another call holds the payment, or the database is away."""
REST_MIN: Final = timedelta(seconds=1)
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)
ORIGIN: Final = "dispute due"


class DueWatch:
    """The work of warning."""

    def __init__(self, reader: MirrorReader, *, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    @property
    def work(self) -> WorkKind:
        """The disputes of which an operator is to be told."""
        return WorkKind(
            name="disputes",
            work_class=WorkClass.READS,
            table="disputes",
            key={"payment_id": "text", "dispute_id": "text"},
            retry=RETRY,
            handler=self.warn,
        )

    async def warn(self, work: Work) -> None:
        """Say how long is left. When more is to be said is written with that, and kept where there was nothing to say:
        a row is due by the database's clock, which may be ahead of ours.
        """
        payment_id, dispute_id = work.key
        call_context.about(payment_id)
        now = self._clock.now()
        try:
            payment = await self._reader.change(
                work.tenant_id,
                payment_id,
                lambda payment: payment.warn(dispute_id, now),
                origin=ORIGIN,
            )
        except AWAY as error:
            raise RetryLater(jittered(REST)) from error
        disputes = [one for intent in payment.intents.values() for one in intent.disputes]
        for next_time in (one.next_warning_time() for one in disputes if one.dispute_id == dispute_id):
            if next_time is not None:
                raise RetryLater(max(next_time - now, REST_MIN))

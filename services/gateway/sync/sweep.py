"""Reads payments again that wait for Stripe, when their time has come. Whatever it finds is delivered.

`Store.save` keeps a row for each payment that is not at rest, due when it is to be read next, in the statement that
keeps what was seen; so there is none without. If the process dies in a reading, the row is due when its lease ends.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from services.errors import Aborted, ResourceExhausted, Unavailable
from services.gateway.mirror.reading_times import RESTS, rest_after
from services.gateway.sync.reader import MirrorReader
from services.runtime.database.connections import DirectConnections
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, jittered

RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(minutes=5), delay_max=RESTS[-1])
"""A payment that cannot be read today may be read tomorrow, when the cause is mended."""
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)
"""What Stripe, or another call on the same payment, raises for now: no failure of the look."""


class Looker:
    """The work of looking again."""

    def __init__(self, connections: DirectConnections, reader: MirrorReader) -> None:
        self._connections = connections
        self._reader = reader

    @property
    def work(self) -> WorkKind:
        """The payments that wait for Stripe."""
        return WorkKind(
            name="looks",
            work_class=WorkClass.READS,
            table="looks",
            key={"payment_id": "text"},
            retry=RETRY,
            handler=self.look,
        )

    async def look(self, work: Work) -> None:
        """Read a payment again; the next look is later, unless something has changed, or it has come to rest."""
        (payment_id,) = work.key
        call_context.about(payment_id)
        try:
            await self._reader.resync(work.tenant_id, payment_id, origin="look")
        except AWAY as error:
            raise RetryLater(jittered(RESTS[0])) from error
        async with self._connections.statement("look.done") as connection:
            looks = await connection.fetchval(_LOOKED, work.tenant_id, payment_id)
        if looks is not None:
            raise RetryLater(jittered(rest_after(looks)))


_LOOKED: Final = """
    UPDATE looks SET looks = looks + 1 WHERE tenant_id = $1 AND payment_id = $2
    RETURNING looks
"""

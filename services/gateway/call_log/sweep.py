"""The due work of calls whose outcome is not known: each is asked for again until it is, and delivered."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from services.errors import Aborted, ResourceExhausted, ServiceError, Unavailable
from services.gateway.call_log.backoff import REST_MIN, SETTLE_FIRST, SETTLE_MAX, settle_delay
from services.gateway.call_log.call import OPEN
from services.gateway.call_log.engine import Calls
from services.gateway.call_log.store import CallStore
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind
from services.shared.fields import is_payment_id

RETRY: Final = RetryPolicy(tries_max=40, first_delay=timedelta(seconds=1), delay_max=SETTLE_MAX)
"""Of a call whose settling raises what it should not, for about three hours; then it needs an operator. While Stripe
does not say what became of a call, nothing failed, and it is asked for ever."""
TRANSIENT: Final = (Unavailable, ResourceExhausted, Aborted)

_logger = logging.getLogger(__name__)


class CallSweep:
    """Settles what was left open."""

    def __init__(self, calls: Calls, store: CallStore, *, is_away: Callable[[str], bool]) -> None:
        """`is_away` says of an operation whether Stripe is known to be away for it."""
        self._calls = calls
        self._store = store
        self._is_away = is_away

    @property
    def work(self) -> WorkKind:
        """The calls whose outcome is not known."""
        return WorkKind(
            name="calls",
            work_class=WorkClass.MONEY,
            table="calls",
            key={"call_id": "uuid"},
            retry=RETRY,
            handler=self.settle,
            about="w.operation",
        )

    async def settle(self, work: Work) -> None:
        """Ask again what came of a call without an answer, and deliver it. Its row says when it is asked next."""
        call = await self._store.call_by_id(work.tenant_id, work.key[0])
        if call is None:
            return
        if is_payment_id(call.subject_id):
            call_context.about(call.subject_id)
        if self._is_away(call.operation):
            raise RetryLater(SETTLE_FIRST)  # this was no try
        try:
            was_free = await self._calls.carry_on(call, deliver=f"settled {call.operation}")
        except TRANSIENT as error:
            _logger.info("%s of %s waits: %s", call.operation, call.subject_id, error.reason)
            raise RetryLater(settle_delay(call.tries)) from error
        except ServiceError as error:
            left = await self._store.call_by_id(work.tenant_id, work.key[0])
            if left is not None and left.state in OPEN:
                raise  # a failure: let go as done, the call would never be asked for again
            _logger.info("%s of %s: %s", call.operation, call.subject_id, error.reason)  # kept as the call's answer
            return
        if not was_free:
            raise RetryLater(REST_MIN)  # another call works on the subject, and may settle this one

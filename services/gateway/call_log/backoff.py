"""How long work rests that waits for others: Stripe, the orchestrator, a call of ours on the same payment."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from services.runtime.work.kinds import jittered

REST_MIN: Final = timedelta(milliseconds=250)
REST_MAX: Final = timedelta(seconds=30)
"""After a long outage everything is done within this, and meanwhile 1,000 waiting payments cost 33 tries a second."""
WAIT_MAX: Final = timedelta(days=3)
"""As long as Stripe itself keeps sending an event."""
SETTLE_FIRST: Final = timedelta(seconds=1)
SETTLE_MAX: Final = timedelta(minutes=5)
"""Between two tries to find out what became of a call."""


def rest(waited: timedelta) -> timedelta | None:
    """Return the pause before the next try: half of what was `waited` already, so that a short outage ends soon.

    None once it waited for `WAIT_MAX`: from then on its tries count, and after the last it needs an operator.
    """
    if waited >= WAIT_MAX:
        return None
    return jittered(min(max(waited / 2, REST_MIN), REST_MAX))


def settle_delay(tries: int) -> timedelta:
    """Return how long to rest before an unanswered call is tried again: doubling up to `SETTLE_MAX`."""
    doublings = min(tries, 20)
    return min(SETTLE_FIRST * (1 << doublings), SETTLE_MAX)

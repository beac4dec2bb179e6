"""Which other replicas listen for hints. Where there is none, no hint is sent, and no payment pays for one.

A replica says hello on the connection it listens on: once its LISTEN stands, every `HELLO_EVERY_S`, and in answer to a
hello that asks for one or comes from a replica it did not know. So a hello proves that its sender listens, and a
replica that hears its own knows that what is sent arrives. It is alone while it hears its own hellos and those of no
other; one that was not heard for `GONE_AFTER` intervals is gone.

Silence loses nothing, since each hello says whether its sender left moves unannounced since the one before, and who
hears that reads the history. Let A be alone and commit a move, and let B have a watch on it:

- B's LISTEN came after the commit: B reads everything once its LISTEN stands, and finds the move.
- B's LISTEN came before it: A hears B's hello, counts B first, and only then answers. What A commits from then on is
  announced. What it committed before is there to be read when B hears in the answer that there is something.
- A does not hear B since its own listener is lost: then A is not alone. That it does not know so yet lasts as long as
  the listener's heartbeat; its first hello after that says what was left unannounced.
- B said nothing for so long that A forgot it, as when its process was stopped: B's next hello is that of a new replica.
- A dies before it answers: B finds the move as it does after any lost hint, when it next asks what has moved.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

HELLO_EVERY_S: Final = 10.0
"""One NOTIFY per process in this time is nothing beside its payments; a hello that was missed is made up for in it."""
GONE_AFTER: Final = 3
"""Intervals. One may be missed by a replica that connects again, two by one that a busy machine holds up."""

_logger = logging.getLogger(__name__)


class Presence:
    """What one replica knows of the others. It says hello when `is_due`, on the connection it listens on."""

    def __init__(
        self, *, hello_every_s: float = HELLO_EVERY_S, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.origin = uuid.uuid4().hex
        """The name of this replica, for as long as its process runs."""
        self._hello_every_s = hello_every_s
        self._monotonic_s = monotonic_s
        self._hears_itself = False
        self._others: dict[str, float] = {}
        """When each was last heard."""
        self._asks = False
        self._owes_hello = False
        self._next_hello_s = 0.0
        self._left_unannounced = False

    def may_be_heard(self) -> bool:
        """Whether to announce a move that was just committed. If not, the next hello says that there was one."""
        if self._hears_itself and not self._others:
            self._left_unannounced = True
            return False
        return True

    def begin(self) -> None:
        """Begin to listen, on a new connection, where the first hello asks who else does."""
        now = self._monotonic_s()
        self._others = dict.fromkeys(self._others, now)  # they were not heard because nobody listened
        self._asks = self._owes_hello = True

    def end(self) -> None:
        """Listen no more: from now on anybody may have come."""
        self._hears_itself = False

    def hear(self, hello: str) -> bool:
        """Take a hello; return whether its sender left moves unannounced, which it says once to all who listen."""
        said = json.loads(hello)
        origin = said["origin"]
        if origin == self.origin:
            self._hears_itself = True
            return False
        is_new = origin not in self._others
        self._others[origin] = self._monotonic_s()
        if is_new:
            self._log()
        self._owes_hello |= is_new or said["asks"]
        return bool(said["unannounced"])

    def is_due(self) -> bool:
        """Whether to say hello."""
        return self._owes_hello or self._monotonic_s() >= self._next_hello_s

    async def say(self, notify: Callable[[str], Awaitable[object]]) -> None:
        """Say hello. If that fails, the next one says what this one would have."""
        asks, self._asks = self._asks, False
        unannounced, self._left_unannounced = self._left_unannounced, False
        self._owes_hello = False
        try:
            await notify(json.dumps({"origin": self.origin, "asks": asks, "unannounced": unannounced}))
        except BaseException:
            self._asks |= asks
            self._left_unannounced |= unannounced
            self._owes_hello = True
            raise
        self._next_hello_s = self._monotonic_s() + self._hello_every_s

    def forget_gone(self) -> None:
        """Forget whoever was not heard for too long."""
        heard_since = self._monotonic_s() - GONE_AFTER * self._hello_every_s
        gone = [origin for origin, heard_s in self._others.items() if heard_s < heard_since]
        for origin in gone:
            del self._others[origin]
        if gone:
            self._log()

    def _log(self) -> None:
        _logger.info("Other replicas that listen for hints: %d", len(self._others))

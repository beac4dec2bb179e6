"""One WatchPayment stream: its watch, and how far its reader has come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.errors import ServiceError
from services.status.watches.watch import Watch
from services.status.wire.responses import watch_heartbeat


class OneWatch:
    """Holds the stream's watch, and writes to its reader."""

    __slots__ = ("_sent", "_watch", "_write")

    def __init__(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._write = write
        self._watch: Watch | None = None
        self._sent = 0
        """Everything up to this revision was written to the stream for certain, or is what it resumes after."""

    def begin(self, watch: Watch) -> None:
        """Take the watch, once it has begun."""
        self._watch = watch
        self._sent = watch.tail

    async def write(self, message: bytes) -> None:
        """Write what was just taken from the send queue: all of it, or a part of what is too long for one message."""
        assert self._watch is not None, "nothing is written before the watch begins"  # noqa: S101
        tail = self._sent if self._watch.send_queue.has_more else self._watch.tail
        await self._write(message)
        self._sent = tail

    def heartbeat(self) -> bytes:
        return watch_heartbeat(self._sent)

    def ended(self, reason: type[ServiceError]) -> ServiceError:
        return reason() if self._watch is None else reason(resume_after_revision=self._sent)

    def cancel(self, watch: Watch, error: ServiceError) -> None:
        """End the stream for what is wrong with its watch."""
        watch.send_queue.end(error)

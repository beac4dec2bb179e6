"""What one stream has to send, in order and within bounds, and when it has to end. It knows nothing of payments.

Messages that wait are written as one: messages of one kind, put one behind the other, make one that says all they say
(so protobuf parses what was concatenated).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from services.errors import ServiceError
from services.status.domain.errors import StreamTooOld, WatchOverflow
from services.status.metrics import UNCOUNTED, StatusMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How much streams may cost; tests shorten them."""

    watches_per_stream_max: int = 10_000
    """Payments followed by one stream, at ~1 KB each."""
    watches_max: int = 200_000
    """Payments followed by all streams of a process, ~200 MB."""
    queue_max: int = 64
    """Transitions of one watch that wait for a slow reader, ~16 KB; a payment has about ten in its life."""
    queue_bytes_max: int = 1024 * 1024
    """Of all watches of one stream. What is beyond a limit is read from the history when the reader has caught up."""
    message_bytes_max: int = 256 * 1024
    """Of one message; a client takes 4 MiB."""
    heartbeat_s: float = 15.0
    """Below the 60 s after which proxies cut a quiet stream."""
    stream_age_max_s: float = 300.0
    write_grace_s: float = 0.25
    """How long a stream that has to end waits for its reader to take the message on its way."""
    stall_max_s: float = 30.0
    """How long a reader may take nothing at all before its stream ends and it has to resume."""
    resync_s: float = 1.5
    """A lost hint is repaired within 2 s."""


async def send_all(
    send_queue: SendQueue, write: Callable[[bytes], Awaitable[None]], *, beside: Coroutine[Any, Any, None] | None = None
) -> None:
    """Write what the send queue has to send until the stream ends, and do `beside` meanwhile, whose failure ends it.

    Raises the reason when the stream has to end, also while its reader takes nothing.
    """
    try:
        await _send_all(send_queue, write, beside=beside)
    except BaseException as error:
        send_queue.metrics.ended(error)
        raise
    send_queue.metrics.ended(None)


async def _send_all(
    send_queue: SendQueue, write: Callable[[bytes], Awaitable[None]], *, beside: Coroutine[Any, Any, None] | None
) -> None:
    task = None if beside is None else asyncio.create_task(beside)
    if task is not None:
        task.add_done_callback(lambda done: _end_with(send_queue, done))
    try:
        async with send_queue.cut:
            send_queue.is_open = True
            while not send_queue.has_ended():
                if (message := send_queue.take()) is None:
                    await send_queue.woken()
                else:
                    await write(message)
                    send_queue.written()
    except TimeoutError:
        if not send_queue.cut.expired():
            raise
        raise send_queue.end_reason() from None
    finally:
        send_queue.is_open = False
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def _end_with(send_queue: SendQueue, done: asyncio.Task[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        send_queue.end(error)


class SendQueue:
    """The sending side of one stream. One task takes from it."""

    __slots__ = (
        "_bytes",
        "_ended",
        "_ending",
        "_heartbeat",
        "_heartbeat_at",
        "_is_finishing",
        "_joined",
        "_latest",
        "_loop",
        "_old_at",
        "_on_room",
        "_on_tick",
        "_pieces",
        "_recorded_at",
        "_room",
        "_taken_at",
        "_waiter",
        "_writing_of",
        "cut",
        "emptied",
        "is_open",
        "limits",
        "metrics",
        "starved",
    )

    def __init__(
        self,
        *,
        heartbeat: Callable[[], bytes],
        ended: Callable[[type[ServiceError]], ServiceError],
        on_room: Callable[[SendQueue], None],
        on_tick: Callable[[], None] | None,
        joined: Callable[[Sequence[bytes]], bytes] = b"".join,
        limits: StreamLimits,
        age_s: float,
        metrics: StatusMetrics = UNCOUNTED,
    ) -> None:
        """Make an empty one.

        `heartbeat` writes a sign of life. `ended` says why the stream ends, with from where to resume. `on_room` is
        called when there is room again for what is `starved`, and `on_tick` about every second. `joined` makes one
        message of several, where it is not enough to write them one after the other: repeated fields alone go on so.
        """
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self.limits = limits
        self.metrics = metrics
        self.cut = asyncio.timeout(None)
        """Ends a write that its reader does not take, once the stream has to end."""
        self.is_open = False
        """Whether a task is writing what there is to send."""
        self.starved: dict[Any, None] = {}  # an empty set takes four times as much
        """What waits for room."""
        self.emptied = 0
        """How often everything that waited was taken."""
        self._heartbeat = heartbeat
        self._ended = ended
        self._on_room = on_room
        self._on_tick = on_tick
        self._joined = joined
        self._pieces: list[bytes] = []
        self._recorded_at: float | None = None
        self._writing_of: float | None = None
        self._bytes = 0
        self._latest: dict[object, bytes] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._ending: type[ServiceError] | BaseException | None = None
        self._is_finishing = False
        self._taken_at: float | None = None
        self._heartbeat_at = now + limits.heartbeat_s
        self._old_at = now + age_s

    @property
    def is_full(self) -> bool:
        """Whether what waits has as many bytes as may wait; what was put by `replace` does not count."""
        return self._bytes >= self.limits.queue_bytes_max

    @property
    def has_more(self) -> bool:
        """Whether something waits that was not taken yet."""
        return bool(self._pieces or self._latest)

    async def room(self) -> None:
        """Wait while as much waits as may wait. For one task, which answers what its caller asks."""
        while self.is_full:
            self._room = self._loop.create_future()
            await self._room

    def put(self, piece: bytes) -> None:
        """Send a message after all that waits."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._waiter is not None:
            self._wake()

    def replace(self, key: object, piece: bytes) -> None:
        """Send a message in place of the one of this key, if that still waits."""
        self._latest[key] = piece
        self._wake()

    def carries(self, recorded_at: float) -> None:
        """Note when a transition was recorded that waits now; of all that wait, the oldest counts."""
        if self._recorded_at is None:
            self._recorded_at = recorded_at

    def written(self) -> None:
        """Note that what was taken last was written."""
        if self._writing_of is not None:
            self.metrics.written(recorded_at=self._writing_of)

    def seal(self, key: object) -> None:
        """Send what waits of this key before whatever is put next."""
        piece = self._latest.pop(key, None)
        if piece is not None:
            self.put(piece)

    def finish(self) -> None:
        """End the stream in order, once all that waits was sent."""
        self._is_finishing = True
        self._wake()

    def end(self, reason: type[ServiceError] | BaseException) -> None:
        """End the stream: at once if it waits, soon if its reader does not take what is being written."""
        if self._ending is None:
            self._ending = reason
            if self.is_open:
                self.cut.reschedule(self._loop.time() + self.limits.write_grace_s)
            self._wake()

    def end_reason(self) -> BaseException:
        assert self._ending is not None, "only asked once the stream ends"  # noqa: S101
        return self._ended(self._ending) if isinstance(self._ending, type) else self._ending

    def has_ended(self) -> bool:
        """Whether the stream has come to its end and all was sent. Raises the reason when it has to end before that."""
        self._taken_at = None
        if self._is_finishing and not self.has_more:
            return True
        if self._ending is not None:
            raise self.end_reason()
        return False

    def take(self) -> bytes | None:
        """Return the next message, if there is one to be written now."""
        if self._pieces or self._latest:
            return self._message()
        if self._heartbeat_at <= self._loop.time():
            return self._taken(self._heartbeat())
        return None

    def woken(self) -> asyncio.Future[None]:
        """Return what is done once there may be a message to take, or the stream has to end."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def tick(self, now: float) -> None:
        """See what is due by the loop's clock."""
        if self._on_tick is not None:
            self._on_tick()
        if now >= self._old_at:
            self.end(StreamTooOld)
        elif self._taken_at is not None and now >= self._taken_at + self.limits.stall_max_s:
            self.end(WatchOverflow)
        elif now >= self._heartbeat_at:
            self._wake()

    def _message(self) -> bytes:
        """Take what waits, but no more than one message holds."""
        most = self.limits.message_bytes_max
        if self._latest and self._bytes <= most:
            latest, self._latest = self._latest, {}
            for piece in latest.values():
                self.put(piece)
        if self._bytes <= most:
            message = self._pieces[0] if len(self._pieces) == 1 else self._joined(self._pieces)
            self._pieces, self._bytes = [], 0
            self.emptied += 1
        else:
            count, size = 1, len(self._pieces[0])
            while (size := size + len(self._pieces[count])) <= most:
                count += 1
            taken, self._pieces = self._pieces[:count], self._pieces[count:]
            message = taken[0] if count == 1 else self._joined(taken)
            self._bytes -= sum(map(len, taken))
        if not self.is_full:
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
            if self.starved:
                self._on_room(self)
        return self._taken(message)

    def _taken(self, message: bytes) -> bytes:
        self._writing_of, self._recorded_at = self._recorded_at, None
        self._taken_at = now = self._loop.time()
        self._heartbeat_at = now + self.limits.heartbeat_s
        return message

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

"""Light watchers: streams of `WatchPayment`, and streams of `WatchMany`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from batzen.status.v1 import status_pb2 as pb
from bench.light.http2 import PREFIX_BYTES, Connection, Header
from bench.light.tally import Tally, now_ns

WATCH_PAYMENT: Final = b"/batzen.status.v1.StatusService/WatchPayment"
WATCH_MANY: Final = b"/batzen.status.v1.StatusService/WatchMany"
COMMANDS_MAX: Final = 500
"""In one message."""


class _Watching(Connection):
    def __init__(self, tally: Tally, *, metadata: Sequence[Header] = ()) -> None:
        super().__init__(tally, metadata=metadata)
        self._cut: dict[int, bytes] = {}
        """What a stream's stamp began with when the rest of it was in the next frame."""

    def _deliveries(self, stream: int, buffer: bytes, start: int, end: int, received_ns: int) -> None:
        if self._cut and (begun := self._cut.pop(stream, b"")):
            buffer = begun + buffer[start:end]
            start, end = 0, len(buffer)
        cut_at = self.tally.find(buffer, start, end, received_ns)
        if cut_at < end:
            self._cut[stream] = buffer[cut_at:end]


class PaymentWatches(_Watching):
    """Any number of `WatchPayment` streams on one connection."""

    def __init__(self, tally: Tally, *, metadata: Sequence[Header] = ()) -> None:
        super().__init__(tally, metadata=metadata)
        self._asked_ns: dict[int, int] = {}

    def watch(self, payment_id: str, *, after_revision: int | None = None, latest_only: bool = False) -> None:
        """Begin a watch; its first message counts as its beginning."""
        request = pb.WatchPaymentRequest(
            payment_id=payment_id, after_revision=after_revision, latest_only=latest_only
        ).SerializeToString()
        asked_ns = now_ns()
        self._asked_ns[self.call(WATCH_PAYMENT, request)] = asked_ns

    def received(self, stream: int, buffer: bytes, start: int, end: int, received_ns: int) -> None:
        if self._asked_ns and (asked_ns := self._asked_ns.pop(stream, 0)):
            self.tally.begin(asked_ns)
        self._deliveries(stream, buffer, start, end, received_ns)

    def ended(self, stream: int) -> None:
        self.tally.lose("a WatchPayment ended")


class ManyWatches(_Watching):
    """One `WatchMany` stream on a connection of its own."""

    def __init__(self, tally: Tally, *, metadata: Sequence[Header] = ()) -> None:
        super().__init__(tally, metadata=metadata)
        self._stream = 0
        self._asked_ns = 0
        self._awaited = 0
        self._unread = b""

    def watch(
        self,
        payment_ids: Sequence[str],
        *,
        after_revisions: Mapping[str, int] | None = None,
        latest_only: bool = False,
    ) -> None:
        """Add watches; each is answered by one Created."""
        revisions = after_revisions or {}
        commands = [
            pb.WatchManyRequest.Command(
                add=pb.WatchManyRequest.Add(
                    payment_id=payment_id, after_revision=revisions.get(payment_id), latest_only=latest_only
                )
            )
            for payment_id in payment_ids
        ]
        self._awaited += len(commands)
        self._asked_ns = now_ns()
        for first in range(0, len(commands), COMMANDS_MAX):
            request = pb.WatchManyRequest(commands=commands[first : first + COMMANDS_MAX]).SerializeToString()
            if self._stream:
                self.send(self._stream, request)
            else:
                self._stream = self.call(WATCH_MANY, request, more=True)

    def received(self, stream: int, buffer: bytes, start: int, end: int, received_ns: int) -> None:
        if self._awaited:
            self._beginnings(buffer[start:end], received_ns)
        else:
            self._deliveries(stream, buffer, start, end, received_ns)

    def ended(self, stream: int) -> None:
        self.tally.lose("a WatchMany ended")

    def _beginnings(self, data: bytes, received_ns: int) -> None:
        """Read whole messages while some watches have not begun; what moves meanwhile is delivered, too."""
        unread = self._unread + data
        while len(unread) >= PREFIX_BYTES:
            end = PREFIX_BYTES + int.from_bytes(unread[1:PREFIX_BYTES], "big")
            if len(unread) < end:
                break
            events = pb.WatchManyResponse.FromString(unread[PREFIX_BYTES:end]).events
            created = sum(event.HasField("created") for event in events)
            if created:
                self._awaited -= created
                self.tally.begin(self._asked_ns, created)
            for event in events:
                if event.HasField("canceled"):
                    self.tally.lose(f"a watch was canceled: {event.canceled.reason}")
            self.tally.find(unread, PREFIX_BYTES, end, received_ns)
            unread = unread[end:]
        if self._awaited:
            self._unread = unread
        else:
            self._unread = b""
            self._deliveries(self._stream, unread, 0, len(unread), received_ns)

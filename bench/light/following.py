"""Light watchers that know how far they are, go on from there, and take each transition exactly once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from batzen.status.v1 import status_pb2 as pb
from bench.light.http2 import PREFIX_BYTES, Connection, Header
from bench.light.tally import Tally, now_ns
from bench.light.watching import COMMANDS_MAX, WATCH_MANY, WATCH_PAYMENT

FROM_NOW: Final = -1


class Arrivals:
    """Says when the last of many watches has begun and come to the revision it has to come to."""

    def __init__(self, goals: Mapping[str, int], *, watches: int) -> None:
        self.at_ns = 0
        self._goals = goals
        self._not_begun = self._behind = watches
        self._all = asyncio.Event()

    def begun(self, payment_id: str, revision: int) -> None:
        """Learn that a watch has begun after a revision."""
        self._not_begun -= 1
        self._behind -= revision >= self._goals[payment_id]
        self._look()

    def moved(self, payment_id: str, revision: int) -> None:
        """Learn that a watch was told of a revision."""
        if revision == self._goals[payment_id]:
            self._behind -= 1
            self._look()

    async def all(self) -> None:
        """Wait until all are there."""
        await self._all.wait()

    def _look(self) -> None:
        if not self._not_begun and not self._behind and not self.at_ns:
            self.at_ns = now_ns()
            self._all.set()


class Following(Connection):
    """A connection whose watches go on, each after its last revision."""

    def __init__(
        self, tally: Tally, arrivals: Arrivals, revisions: Mapping[str, int], *, metadata: Sequence[Header] = ()
    ) -> None:
        """`revisions` says after which revision each payment is watched, `FROM_NOW` as it stands."""
        super().__init__(tally, metadata=metadata)
        self.revisions = dict(revisions)
        self._arrivals = arrivals
        self._unread: dict[int, bytes] = {}

    def resume(self) -> None:
        """Watch all of `revisions`."""
        raise NotImplementedError

    def received(self, stream: int, buffer: bytes, start: int, end: int, received_ns: int) -> None:
        data = self._unread.pop(stream, b"") + buffer[start:end]
        while len(data) >= PREFIX_BYTES:
            beyond = PREFIX_BYTES + int.from_bytes(data[1:PREFIX_BYTES], "big")
            if len(data) < beyond:
                break
            self._read(stream, data[PREFIX_BYTES:beyond])
            data = data[beyond:]
        if data:
            self._unread[stream] = data

    def _read(self, stream: int, message: bytes) -> None:
        raise NotImplementedError

    def _begun(self, payment_id: str, current_revision: int) -> None:
        if self.revisions[payment_id] == FROM_NOW:
            self.revisions[payment_id] = current_revision
        self._arrivals.begun(payment_id, self.revisions[payment_id])

    def _moved(self, transition: pb.Transition) -> None:
        payment_id, revision = transition.payment_id, transition.revision
        expected = self.revisions[payment_id] + 1
        if revision != expected:
            self.tally.lose(f"{payment_id}: revision {revision} came in the place of {expected}")
        self.revisions[payment_id] = revision
        self._arrivals.moved(payment_id, revision)


class ManyFollowing(Following):
    """One `WatchMany` stream."""

    def resume(self) -> None:
        commands = [
            pb.WatchManyRequest.Command(
                add=pb.WatchManyRequest.Add(payment_id=payment_id, after_revision=_after(revision))
            )
            for payment_id, revision in self.revisions.items()
        ]
        stream = 0
        for first in range(0, len(commands), COMMANDS_MAX):
            request = pb.WatchManyRequest(commands=commands[first : first + COMMANDS_MAX]).SerializeToString()
            if stream:
                self.send(stream, request)
            else:
                stream = self.call(WATCH_MANY, request, more=True)

    def ended(self, stream: int) -> None:
        self.tally.lose("a WatchMany ended")

    def _read(self, stream: int, message: bytes) -> None:
        for event in pb.WatchManyResponse.FromString(message).events:
            match event.WhichOneof("event"):
                case "transition":
                    self._moved(event.transition)
                case "created":
                    self._begun(event.created.payment_id, event.created.current_revision)
                case "canceled":
                    self.tally.lose(f"a watch was canceled: {event.canceled.reason}")


class PaymentFollowing(Following):
    """A `WatchPayment` stream for each payment."""

    def resume(self) -> None:
        self._payment_ids: dict[int, str] = {}
        for payment_id, revision in self.revisions.items():
            request = pb.WatchPaymentRequest(payment_id=payment_id, after_revision=_after(revision))
            self._payment_ids[self.call(WATCH_PAYMENT, request.SerializeToString())] = payment_id

    def ended(self, stream: int) -> None:
        self.tally.lose("a WatchPayment ended")

    def _read(self, stream: int, message: bytes) -> None:
        response = pb.WatchPaymentResponse.FromString(message)
        if response.HasField("header"):
            self._begun(self._payment_ids[stream], response.header.current_revision)
        for transition in response.updates.transitions:
            self._moved(transition)


def _after(revision: int) -> int | None:
    return None if revision == FROM_NOW else revision

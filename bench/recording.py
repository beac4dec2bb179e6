"""Requests to record transitions, each the next of its payment, as the orchestrator would send them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Final

from batzen.status.v1 import status_pb2 as pb
from bench.database import payment_id
from bench.light.calling import Caller
from bench.light.http2 import Header
from bench.light.tally import Tally, stamp
from bench.sample import SNAPSHOT_MESSAGE
from bench.status import HOST

RECORD: Final = b"/batzen.status.v1.StatusService/RecordTransition"
WRITER: Final = "orchestrator"
CONNECTIONS: Final = 4


class Transitions:
    """The next transition of one payment after the other. Each has to succeed, or its payment goes no further."""

    def __init__(self, payments: int) -> None:
        self._payments = payments
        self._count = 0
        self._request = pb.RecordTransitionRequest(snapshot=SNAPSHOT_MESSAGE)

    def next(self, at_ns: int | None = None) -> bytes:
        """Return a request; its snapshot says when it was made, at this instant by default."""
        request = self._request
        request.request_id = str(uuid.uuid4())
        request.payment_id = payment_id(self._count % self._payments)
        request.expected_revision = 1 + self._count // self._payments
        request.snapshot.reason = stamp(at_ns)
        self._count += 1
        return request.SerializeToString()

    def revision(self, number: int) -> int:
        """Return at what revision the payment with that number stands, once all requests were answered."""
        return 1 + self._count // self._payments + (number < self._count % self._payments)


async def connected(port: int, *, headers: Sequence[Header], connections: int = CONNECTIONS) -> list[Caller]:
    """Return light callers."""
    loop = asyncio.get_running_loop()
    callers = []
    for _ in range(connections):
        _, caller = await loop.create_connection(lambda: Caller(Tally(), metadata=headers), HOST, port)
        callers.append(caller)
    return callers

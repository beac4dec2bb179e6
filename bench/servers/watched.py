"""Status as a front sees it, with nothing behind it: each payment may be watched, and moves are made at a steady rate.

`python -m bench.servers.watched PORT` prints a line when it serves; a line on its input says how many moves a second.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop
from grpc import aio

from batzen.status.v1 import status_pb2
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentState

Events = list[status_pb2.WatchManyResponse.Event]
TICK_S = 0.005
TOTAL = Money(amount_minor=6_000, currency_code="CHF")


class Watched:
    """Every payment there could be."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self._revisions: dict[str, int] = {}
        self._ready: asyncio.Queue[Events] = asyncio.Queue()

    async def get(self, request: status_pb2.GetPaymentRequest, _: object) -> status_pb2.GetPaymentResponse:
        """Return a payment at its first revision, or where it is by now."""
        revision = self._revisions.get(request.payment_id, 1)
        state = PaymentState.PAYMENT_STATE_PROCESSING
        payment = status_pb2.Payment(
            payment_id=request.payment_id, revision=revision, state=state, payer_id="payer_1", total=TOTAL
        )
        return status_pb2.GetPaymentResponse(payment=payment)

    async def watch(
        self, requests: AsyncIterator[status_pb2.WatchManyRequest], _: object
    ) -> AsyncIterator[status_pb2.WatchManyResponse]:
        """Follow what is asked for."""
        listening = asyncio.create_task(self._listen(requests))
        try:
            while True:
                yield status_pb2.WatchManyResponse(events=await self._ready.get())
        finally:
            listening.cancel()

    async def move(self) -> None:
        """Move one payment after the other, at the rate that holds."""
        due = asyncio.get_running_loop().time()
        for number in itertools.count():
            await asyncio.sleep(TICK_S)
            now = asyncio.get_running_loop().time()
            names = list(self._revisions)
            if not self.per_s or not names:
                due = now
                continue
            count, due = int((now - due) * self.per_s), due + int((now - due) * self.per_s) / self.per_s
            if count:
                self._ready.put_nowait([self._moved(names[(number * 7919 + n) % len(names)]) for n in range(count)])

    async def _listen(self, requests: AsyncIterator[status_pb2.WatchManyRequest]) -> None:
        async for request in requests:
            events: Events = []
            for command in request.commands:
                if command.HasField("add"):
                    name = command.add.payment_id
                    revision = self._revisions.setdefault(name, 1)
                    created = status_pb2.WatchManyResponse.Created(payment_id=name, current_revision=revision)
                    events.append(status_pb2.WatchManyResponse.Event(created=created))
            if events:
                self._ready.put_nowait(events)

    def _moved(self, name: str) -> status_pb2.WatchManyResponse.Event:
        self._revisions[name] += 1
        update = status_pb2.Transition(
            payment_id=name, revision=self._revisions[name], state=PaymentState.PAYMENT_STATE_PROCESSING
        )
        update.snapshot.reason = f"at={time.monotonic_ns():019}"
        return status_pb2.WatchManyResponse.Event(transition=update)


async def main(port: int) -> None:
    """Serve until the input ends."""
    watched, server = Watched(), aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetPayment": grpc.unary_unary_rpc_method_handler(
            watched.get,
            request_deserializer=status_pb2.GetPaymentRequest.FromString,
            response_serializer=status_pb2.GetPaymentResponse.SerializeToString,
        ),
        "WatchMany": grpc.stream_stream_rpc_method_handler(
            watched.watch,
            request_deserializer=status_pb2.WatchManyRequest.FromString,
            response_serializer=status_pb2.WatchManyResponse.SerializeToString,
        ),
    }
    service = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    moving = asyncio.create_task(watched.move())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        watched.per_s = float(line)
    moving.cancel()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

"""The limit of grpc.aio: the wire of our watches without token, history or limits. `python -m bench.servers.bare PORT`

A transition is serialised once. What waits for a stream goes out as one message, since protobuf joins what is written
one after the other: the transitions of two `updates`, the events of two responses.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterable, Callable
from typing import Any, Final

import grpc
import uvloop
from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from bench.light.tally import stamp
from bench.sample import transition_message
from bench.servers.control import controlled, payment_id

SERVICE: Final = "batzen.status.v1.StatusService"
STREAMS_MAX: Final = 100_000

Context = aio.ServicerContext[Any, Any]


class _Waiting:
    """What waits for one stream: everything, or the newest of each payment."""

    def __init__(self, encode: Callable[[pb.Transition], bytes]) -> None:
        self.encode = encode
        self._all: list[bytes] = []
        self._newest: dict[str, bytes] = {}
        self._taker: asyncio.Future[None] | None = None

    def put(self, name: str, message: bytes, *, latest_only: bool) -> None:
        if latest_only:
            self._newest[name] = message
        else:
            self._all.append(message)
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    async def take(self) -> bytes:
        """Wait for something, and return all there is."""
        if not self._all and not self._newest:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        everything = b"".join((*self._all, *self._newest.values()))
        self._all.clear()
        self._newest.clear()
        return everything


_watching: defaultdict[str, dict[_Waiting, bool]] = defaultdict(dict)
"""By payment; true where only the newest is wanted."""
_revisions: Counter[str] = Counter()


def _as_updates(transition: pb.Transition) -> bytes:
    updates = pb.WatchPaymentResponse.Updates(transitions=[transition])
    return pb.WatchPaymentResponse(updates=updates).SerializeToString()


def _as_event(transition: pb.Transition) -> bytes:
    return pb.WatchManyResponse(events=[pb.WatchManyResponse.Event(transition=transition)]).SerializeToString()


_transition: Final = transition_message(payment_id(0), revision=1, reason=stamp())


def _publish(number: int) -> None:
    name = _transition.payment_id = payment_id(number)
    _revisions[name] += 1
    _transition.revision = _revisions[name] + 1
    _transition.snapshot.reason = stamp()
    encoded: dict[Callable[[pb.Transition], bytes], bytes] = {}
    for waiting, latest_only in _watching[name].items():
        encode = waiting.encode
        if encode not in encoded:
            encoded[encode] = encode(_transition)
        waiting.put(name, encoded[encode], latest_only=latest_only)


async def _watch_payment(request: pb.WatchPaymentRequest, context: Context) -> None:
    waiting = _Waiting(_as_updates)
    watching = _watching[request.payment_id]
    watching[waiting] = request.latest_only
    try:
        header = pb.WatchPaymentResponse.Header(current_revision=_revisions[request.payment_id] + 1)
        await context.write(pb.WatchPaymentResponse(header=header).SerializeToString())
        while True:
            await context.write(await waiting.take())
    finally:
        del watching[waiting]


async def _watch_many(requests: AsyncIterable[pb.WatchManyRequest], context: Context) -> None:
    waiting = _Waiting(_as_event)
    names: set[str] = set()

    async def follow() -> None:
        async for request in requests:
            for command in request.commands:
                name = command.add.payment_id
                names.add(name)
                _watching[name][waiting] = command.add.latest_only
                created = pb.WatchManyResponse.Created(payment_id=name, current_revision=_revisions[name] + 1)
                event = pb.WatchManyResponse.Event(created=created)
                waiting.put("", pb.WatchManyResponse(events=[event]).SerializeToString(), latest_only=False)

    following = asyncio.create_task(follow())
    try:
        while True:
            await context.write(await waiting.take())
    finally:
        following.cancel()
        for name in names:
            del _watching[name][waiting]


async def _serve(port: int) -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", STREAMS_MAX)])
    methods: dict[str, Any] = {
        "WatchPayment": grpc.unary_stream_rpc_method_handler(
            _watch_payment, request_deserializer=pb.WatchPaymentRequest.FromString, response_serializer=None
        ),
        "WatchMany": grpc.stream_stream_rpc_method_handler(
            _watch_many, request_deserializer=pb.WatchManyRequest.FromString, response_serializer=None
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await controlled(_publish)
    await server.stop(None)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

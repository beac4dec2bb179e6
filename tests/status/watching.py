"""Reading a watch as a caller does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from grpc import aio

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from tests.eventually import WITHIN_S
from tests.status.conftest import StatusServiceStub
from tests.status.samples import Refusal, refusal_of

Responses = AsyncIterator[pb.WatchPaymentResponse]

SMALL_WINDOW = (("grpc.http2.lookahead_bytes", 65_535), ("grpc.http2.bdp_probe", 0))
"""What a client takes before it reads."""


def watch(status: StatusServiceStub, payment_id: str, *, timeout: float | None = WITHIN_S, **fields: Any) -> Any:
    """`async with watch(status, payment_id, after_revision=3) as responses`."""
    return streaming(status.WatchPayment(pb.WatchPaymentRequest(payment_id=payment_id, **fields), timeout=timeout))


async def header(responses: Responses) -> pb.WatchPaymentResponse.Header:
    first = await anext(responses)
    assert first.WhichOneof("event") == "header"
    return first.header


async def revisions(responses: Responses, *, upto: int) -> list[int]:
    """Return the revisions that come, as they come, until one is at least `upto`; heartbeats are passed over."""
    seen: list[int] = []
    while not seen or seen[-1] < upto:
        response = await anext(responses)
        seen += [transition.revision for transition in response.updates.transitions]
    return seen


async def rest(responses: Responses) -> tuple[list[int], Refusal | None]:
    """Read to the end: the revisions that came, and how it ended; None means OK."""
    seen: list[int] = []
    try:
        async for response in responses:
            seen += [transition.revision for transition in response.updates.transitions]
    except aio.AioRpcError as error:
        return seen, refusal_of(error)
    return seen, None

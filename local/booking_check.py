"""A platform as small as can be, for `make up`: it says which bookings may be paid for, by their names alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Final

from grpc import aio

from batzen.orchestrator.v1 import booking_check_pb2 as pb
from batzen.orchestrator.v1.booking_check_pb2_grpc import (
    BookingCheckServiceServicer,
    add_BookingCheckServiceServicer_to_server,
)
from local.ports import HOST

CLOSED: Final = "closed"
"""What the ids of bookings begin with that cannot be paid for."""


class BookingCheckServicer(BookingCheckServiceServicer):
    """Says of every booking that it may be paid for, unless its id begins with `CLOSED`."""

    async def CheckPayable(
        self,
        request: pb.CheckPayableRequest,
        context: aio.ServicerContext[pb.CheckPayableRequest, Awaitable[pb.CheckPayableResponse]],
    ) -> pb.CheckPayableResponse:
        """Return the first booking that is closed, if one is."""
        closed = next((one for one in request.booking_ids if one.startswith(CLOSED)), None)
        if closed is None:
            return pb.CheckPayableResponse(payable=True)
        return pb.CheckPayableResponse(booking_id=closed, detail="This booking is closed.")


@asynccontextmanager
async def booking_check() -> AsyncIterator[str]:
    """Serve it on a free port of this machine while inside, and give its address."""
    server = aio.server()
    add_BookingCheckServiceServicer_to_server(BookingCheckServicer(), server)
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        yield f"{HOST}:{port}"
    finally:
        await server.stop(None)

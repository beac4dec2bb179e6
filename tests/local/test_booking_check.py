"""The platform of `make up` says which bookings may be paid for."""

from __future__ import annotations

from batzen._channel import make_channel
from batzen.orchestrator.v1 import booking_check_pb2 as pb
from batzen.orchestrator.v1.booking_check_pb2_grpc import BookingCheckServiceStub
from local.booking_check import booking_check
from tests.eventually import WITHIN_S


async def test_a_closed_booking_is_not_payable_and_any_other_is() -> None:
    async with booking_check() as address, make_channel(address, timeout_s=WITHIN_S, metadata=lambda: ()) as channel:
        stub = BookingCheckServiceStub(channel)
        answer = await stub.CheckPayable(pb.CheckPayableRequest(booking_ids=["a", "closed_b"]))
        assert (answer.payable, answer.booking_id) == (False, "closed_b")
        assert (await stub.CheckPayable(pb.CheckPayableRequest(booking_ids=["a", "b"]))).payable

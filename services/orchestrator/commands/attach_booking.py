"""AttachBooking: gives a payment bookings that it was started without."""

from __future__ import annotations

from typing import ClassVar

from batzen.orchestrator.v1.orchestrator_pb2 import AttachBookingRequest, AttachBookingResponse
from services.errors import FieldMissing
from services.orchestrator.booking_claims import BookingClaims
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.errors import BookingHasPayment, PaymentState, TooManyBookings
from services.orchestrator.domain.payment import ENDED_WITHOUT_MONEY, TAKEN
from services.orchestrator.domain.plan import Request, RequestKey
from services.orchestrator.peers import Peers
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.requests import BOOKINGS_MAX, check_booking_ids
from services.runtime import crash_points
from services.shared import fields


class AttachBooking(Command[AttachBookingRequest, AttachBookingResponse]):
    """Adds bookings to a payment.

    What happens if the process dies: after the claim, the request is open, and whoever carries it on claims the same
    again; after the save, the payment has the bookings, and status hears of them once more, which changes nothing.
    """

    request_type = AttachBookingRequest
    response_type = AttachBookingResponse
    kept_fields: ClassVar[tuple[str, ...]] = ("booking_ids",)

    def __init__(self, outbox: TransitionOutbox, peers: Peers, claims: BookingClaims) -> None:
        self._outbox = outbox
        self._peers = peers
        self._claims = claims

    def validate(self, message: AttachBookingRequest) -> None:
        """Refuse what names no payment or no booking."""
        fields.payment_id(message.payment_id)
        if not message.booking_ids:
            raise FieldMissing(field="booking_ids")
        check_booking_ids(message.booking_ids)

    def payment_id(self, message: AttachBookingRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    async def perform(self, work: UnitOfWork, request: Request, message: AttachBookingRequest) -> AttachBookingResponse:
        """Claim the bookings, save them, and have status show them."""
        plan = work.plan
        if not request.calling:
            await self._attach(work, message)
            await work.save("attachbooking.begin", request=request)
        try:
            await self._claims.check_held(plan)
        except BookingHasPayment:  # whoever stood still between claim and save lost them
            plan.booking_ids = tuple(one for one in plan.booking_ids if one not in message.booking_ids)
            raise
        await self._outbox.try_flush_outbox(work)
        work.payment = await crash_points.call("attachbooking.status", self._peers.status.set_links(plan, request))
        return AttachBookingResponse(payment=work.payment)

    async def _attach(self, work: UnitOfWork, message: AttachBookingRequest) -> None:
        plan, collection = work.plan, work.plan.latest_snapshot.collection
        if collection in ENDED_WITHOUT_MONEY:
            raise PaymentState(state=plan.latest_snapshot.state)
        wanted = tuple(dict.fromkeys((*plan.booking_ids, *message.booking_ids)))
        if len(wanted) > BOOKINGS_MAX:
            raise TooManyBookings(bookings=len(wanted))
        if collection not in TAKEN:
            await self._peers.bookings.check_payable(plan, booking_ids=wanted)
        await self._claims.claim(plan.tenant_id, plan.payment_id, wanted)
        plan.booking_ids = wanted

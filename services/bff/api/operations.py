"""What both forms of REST do: calls of services in the name of who asks. Nothing here knows either form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from batzen.errors import LASTING, BatzenError, ResourceExhausted, by_reason
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from batzen.type.v1.payment_pb2 import PaymentState
from services.bff.callers import Asker
from services.bff.tenants import Tenants
from services.web.failures import Refusal
from services.web.front import Front

ELSEWHERE: Final = "It is of none of the tenant's origins, to which alone a payer is sent back."
BOOKING_PAYMENTS_MAX: Final = 20
"""Of one booking that are looked at; one is open at a time, and each of the others has ended."""
DISPLAY_LOCALES: Final = ("de-CH", "fr-CH", "it-CH", "en-CH")
"""In which a quote has its amounts written, so that nothing is formatted here."""
DECIDED: Final = frozenset(
    {
        PaymentState.PAYMENT_STATE_PROCESSING,
        PaymentState.PAYMENT_STATE_AUTHORIZED,
        PaymentState.PAYMENT_STATE_SCHEDULED,
        PaymentState.PAYMENT_STATE_SUCCEEDED,
    }
)
"""How a payment stands of which a method was taken; one whose bank asks for its payer is asked for once more."""


PAYERS_TURN: Final = frozenset(
    {PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD, PaymentState.PAYMENT_STATE_REQUIRES_ACTION}
)
"""How a payment stands of which a method may be submitted."""
LOOKED_BACK_MAX: Final = 100
"""Revisions before the current one among which the payer's last turn is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What came of a submit."""

    payment: status_pb2.Payment
    redirect_url: str
    """Where the payer has to go; empty where nowhere."""

    @property
    def is_unknown(self) -> bool:
        """Whether it is not known yet what became of it. It is never called failed then."""
        return self.payment.state == PaymentState.PAYMENT_STATE_PROCESSING


class Operations:
    """The commands and queries of payments."""

    def __init__(self, front: Front, tenants: Tenants) -> None:
        self._front = front
        self._tenants = tenants

    @property
    def public_origin(self) -> str:
        """Where browsers find this front."""
        return self._front.settings.public_origin

    def return_url(self, payment_id: str = "{PAYMENT_ID}") -> str:
        """Return where a browser comes back to. Before a payment has an id, its start fills it in."""
        return f"{self.public_origin}/return/{payment_id}"

    def check_returns(self, asker: Asker, **addresses: str) -> None:
        """See that payers are sent back to where their tenant is, by the fields that say so.

        Raises:
            Refusal: FIELD_INVALID, of the first that leads elsewhere.
        """
        tenant = self._tenants.of(asker.tenant_id)
        for field, address in addresses.items():
            if address and not tenant.takes_back(address, own_origin=self.public_origin, is_service=asker.is_service):
                raise Refusal(400, "FIELD_INVALID", field=field, explanation=ELSEWHERE)

    async def start(self, asker: Asker, request: pb.StartPaymentRequest) -> pb.PaymentSession:
        """Start a payment; only a service may."""
        calls = self._front.peers.calls
        return (await calls.orchestrator.StartPayment(request, metadata=asker.metadata)).session

    async def payment(self, asker: Asker, payment_id: str) -> status_pb2.Payment:
        """Return a payment as it stands."""
        request = status_pb2.GetPaymentRequest(payment_id=payment_id)
        return (await self._front.peers.calls.status.GetPayment(request, metadata=asker.metadata)).payment

    async def turn(self, asker: Asker, payment: status_pb2.Payment) -> int:
        """Return at which revision it is the payer's turn, or was last; 0 where it was long ago."""
        if payment.state in PAYERS_TURN:
            return payment.revision
        request = status_pb2.ListTransitionsRequest(
            payment_id=payment.payment_id,
            after_revision=max(0, payment.revision - 1 - LOOKED_BACK_MAX),
            page_size=LOOKED_BACK_MAX,
        )
        try:
            answer = await self._front.peers.calls.status.ListTransitions(request, metadata=asker.metadata)
        except by_reason["REVISION_COMPACTED"]:
            return 0
        turns = [one.revision for one in answer.transitions if one.state in PAYERS_TURN]
        return max((one for one in turns if one < payment.revision), default=0)

    async def session(self, asker: Asker, *, payment_id: str = "", stripe_id: str = "") -> pb.PaymentSession:
        """Return what the payer needs to go on, of a payment by its id or by one at Stripe."""
        request = pb.GetPaymentSessionRequest(payment_id=payment_id, stripe_id=stripe_id)
        calls = self._front.peers.calls
        return (await calls.orchestrator.GetPaymentSession(request, metadata=asker.metadata)).session

    async def of_booking(self, asker: Asker, booking_id: str) -> Sequence[status_pb2.Payment]:
        """Return the payments of a booking that the asker may see, the newest first."""
        request = status_pb2.ListPaymentsRequest(
            filter=status_pb2.PaymentFilter(booking_id=booking_id), page_size=BOOKING_PAYMENTS_MAX
        )
        return (await self._front.peers.calls.status.ListPayments(request, metadata=asker.metadata)).payments

    async def submit(self, asker: Asker, request: pb.SubmitPaymentRequest) -> Submitted:
        """Submit a method. What of it is not known is on its way, and said to be: an outage, or an answer too late.

        Raises the error where the payment still waits for a method: it may be that nothing of the submit was heard,
        and who asked may repeat it, under the same id.
        """
        calls = self._front.peers.calls
        try:
            answer = await calls.orchestrator.SubmitPayment(request, metadata=asker.metadata)
        except (*LASTING, ResourceExhausted):
            raise
        except BatzenError as error:
            try:
                payment = await self.payment(asker, request.payment_id)
            except BatzenError:
                raise error from None
            if payment.state not in DECIDED:
                raise
            return Submitted(payment=payment, redirect_url="")
        return Submitted(payment=answer.payment, redirect_url=answer.next_action.redirect_url)

    async def offer_page(self, asker: Asker, session: pb.PaymentSession, *, request_id: str) -> pb.PaymentSession:
        """Return the session of a payment with a hosted page, which is made where there is none."""
        if session.checkout_url:
            return session
        request = pb.ResumePaymentRequest(
            request_id=request_id,
            payment_id=session.payment.payment_id,
            collection=pb.COLLECTION_CHECKOUT,
        )
        calls = self._front.peers.calls
        return (await calls.orchestrator.ResumePayment(request, metadata=asker.metadata)).session


def open_one(payments: Sequence[status_pb2.Payment]) -> status_pb2.Payment | None:
    """Return the payment of a booking that is not over; None if none is."""
    return next((one for one in payments if not one.settled), None)

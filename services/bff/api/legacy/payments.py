"""`/api/payments`: create-intent, create-checkout-session, confirm, status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from batzen.client import new_request_id
from batzen.errors import LASTING, BatzenError, FailedPrecondition, NotFound, ResourceExhausted
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import Payment
from services.bff.api.legacy import models, views
from services.bff.api.legacy.prices import check_claim, lines_of
from services.bff.api.operations import DISPLAY_LOCALES, Operations, open_one
from services.bff.api.polling import polled, tag
from services.bff.api.request_ids import of_content, of_key
from services.bff.api.who import Key, Rates, Who
from services.bff.callers import Asker
from services.web.failures import Refusal

BookingId: TypeAlias = Annotated[str, Path(alias="bookingId", min_length=1, max_length=128)]
Answer: TypeAlias = dict[str, object]
UNSAID: Final = "Its payer may choose when the money is taken; what they were shown of that this form cannot say."


class LegacyPayments:
    """The handlers of payments as old clients know them."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.add_api_route("/create-intent", self.create_intent, methods=["POST"])
        router.add_api_route("/create-checkout-session", self.create_checkout_session, methods=["POST"])
        router.add_api_route("/confirm", self.confirm, methods=["POST"])
        router.add_api_route("/status/{bookingId}", self.booking_status, methods=["GET"], response_model=None)

    async def create_intent(self, asker: Who, body: models.CreateIntent, key: Key = None) -> Answer:
        """Return the open payment of a booking for Stripe's form. A service starts one where there is none."""
        session = await self._open(asker, body, pb.COLLECTION_ELEMENTS, key)
        # With the ids at Stripe, which a start does not say.
        session = await self._operations.session(asker, payment_id=session.payment.payment_id)
        return views.intent(session, body.booking_id)

    async def create_checkout_session(
        self, asker: Who, rates: Rates, body: models.CreateCheckoutSession, key: Key = None
    ) -> Answer:
        """Return the hosted page of a booking's open payment. A service starts one where there is none."""
        session = await self._open(asker, body, pb.COLLECTION_CHECKOUT, key)
        payment = session.payment
        await rates.take_payment(asker, payment.payment_id)
        # There is one page at a time, whoever asks how often; and what refused one may be over by now.
        session = await self._operations.offer_page(asker, session, request_id=new_request_id())
        return views.checkout_session(session, body.booking_id)

    async def confirm(self, asker: Who, rates: Rates, body: models.Confirm, key: Key = None) -> Answer:
        """Submit a method. Without a key, it is a repeat until it is the payer's turn again."""
        payment = await self.named(asker, body)
        await rates.take_payment(asker, payment.payment_id)
        method = body.payment_method_id or body.confirmation_token_id
        if not method:
            raise Refusal(400, "FIELD_MISSING", field="paymentMethodId")
        self._operations.check_returns(asker, returnUrl=body.return_url)
        request = pb.SubmitPaymentRequest(
            payment_id=payment.payment_id,
            return_url=body.return_url or self._operations.return_url(payment.payment_id),
            keep_method=body.save_payment_method,
        )
        if body.amount_minor is not None:
            request.expected_total.amount_minor = body.amount_minor
            request.expected_total.currency_code = body.currency or payment.total.currency_code
        if body.payment_method_id:
            request.payment_method_id = method
        else:
            request.confirmation_token_id = method
        # A key is of what was asked: another payment that has the booking's name by now is not paid by a repeat.
        derived = "" if key else await self._derived_of_submit(asker, payment, request)
        request.request_id = of_key(asker, "confirm", key) if key else derived
        try:
            submitted = await self._operations.submit(asker, request)
        except (*LASTING, ResourceExhausted) as refusal:
            if any(one.field == "expected_timing" for one in refusal.violations):
                raise Refusal(409, "TIMING_CHANGED", explanation=UNSAID) from refusal
            raise
        except BatzenError:
            return views.unknown(payment, asker.language)
        return views.confirmed(submitted, asker.language)

    async def booking_status(self, request: Request, asker: Who, booking_id: BookingId) -> Response:
        """Return how the newest payment of a booking stands. With `If-None-Match` 304 while nothing has changed."""
        payment = await self._of_booking(asker, booking_id)
        return polled(request, tag(payment, asker), lambda: views.status(payment, booking_id))

    async def meant(self, asker: Asker, body: models.Named) -> Sequence[Payment]:
        """Return the payment that is named, and others that the same name had before: a repeat may be of one of those.

        Raises `Refusal` where none is named.
        """
        payment = await self.named(asker, body)
        if body.payment_id or body.payment_intent_id:
            return [payment]
        others = await self._operations.of_booking(asker, body.booking_id)
        return [payment, *(one for one in others if one.payment_id != payment.payment_id)]

    async def named(self, asker: Asker, body: models.Named) -> Payment:
        """Return the payment that is named. Raises `Refusal` where none is."""
        if body.payment_id:
            return await self._operations.payment(asker, body.payment_id)
        if body.payment_intent_id:
            return (await self._operations.session(asker, stripe_id=body.payment_intent_id)).payment
        if body.booking_id:
            return await self._of_booking(asker, body.booking_id)
        raise Refusal(400, "FIELD_MISSING", field="paymentIntentId")

    async def _of_booking(self, asker: Asker, booking_id: str) -> Payment:
        payments = await self._operations.of_booking(asker, booking_id)
        if not payments:
            raise Refusal(404, "PAYMENT_NOT_FOUND", field="bookingId")
        return open_one(payments) or payments[0]

    async def _open(
        self, asker: Asker, body: models.CreateIntent, collection: pb.Collection, key: str | None
    ) -> pb.PaymentSession:
        """Return the open payment of a booking. A price of a payer's is compared with it, and never charged."""
        if asker.is_service and body.price is not None:
            return await self._start(asker, body, collection, key)
        if not asker.is_service and body.user_id not in ("", asker.subject):
            raise Refusal(403, "PERMISSION_DENIED", field="userId")
        payment = open_one(await self._operations.of_booking(asker, body.booking_id))
        if payment is None:
            if asker.is_service:
                raise Refusal(400, "FIELD_MISSING", field="price")
            raise Refusal(404, "PAYMENT_NOT_FOUND", field="bookingId")
        check_claim(body, payment.total)
        return await self._operations.session(asker, payment_id=payment.payment_id)

    async def _start(
        self, asker: Asker, body: models.CreateIntent, collection: pb.Collection, key: str | None
    ) -> pb.PaymentSession:
        lines = lines_of(body)
        request_id = of_key(asker, "create-intent", key) if key else await self._derived(asker, body)
        pages = body if isinstance(body, models.CreateCheckoutSession) else models.CreateCheckoutSession(booking_id="-")
        self._operations.check_returns(asker, successUrl=pages.success_url, cancelUrl=pages.cancel_url)
        request = pb.StartPaymentRequest(
            request_id=request_id,
            payer=pb.Payer(payer_id=body.user_id, email=body.email, name=body.name, locale=body.locale),
            lines=lines,
            booking_ids=[body.booking_id],
            session_type=body.session_type,
            session_name=body.session_name,
            return_url=pages.success_url or self._operations.return_url(),
            cancel_url=pages.cancel_url or pages.success_url or self._operations.return_url(),
            collection=collection,
            display_locales=DISPLAY_LOCALES,
            on_open_payment=pb.ON_OPEN_PAYMENT_RETURN_EXISTING,
        )
        try:
            return await self._operations.start(asker, request)
        except (NotFound, FailedPrecondition):
            if key:
                raise
            # It may be a refusal of long ago that is over: the seller can be paid by now. However many ask anew, the
            # booking has one open payment, which is returned.
            request.request_id = new_request_id()
            return await self._operations.start(asker, request)

    async def _derived_of_submit(self, asker: Asker, payment: Payment, request: pb.SubmitPaymentRequest) -> str:
        """Return the request id of a submit without a key: of caller, all that it asks for, and the payer's turn.

        A lost answer is asked for again by the same id, also once it was paid. Where it is the payer's turn once more,
        after a decline, a refusal that is over or another card, the same card is another submit.
        """
        turn = await self._operations.turn(asker, payment)
        return of_content(asker, "confirm", turn, request.SerializeToString(deterministic=True).hex())

    async def _derived(self, asker: Asker, body: models.CreateIntent) -> str:
        """Return the request id of a start without a key: of caller, booking and body.

        And of the last payment that is over: a booking whose payment was given up is paid for by another one, also
        where it is asked for in the same words.
        """
        payments = await self._operations.of_booking(asker, body.booking_id)
        over = next((one.payment_id for one in payments if one.settled), "")
        return of_content(asker, type(body).__name__, body.booking_id, body.model_dump(), over)

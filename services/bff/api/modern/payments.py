"""`/v1/payments`: payments as resources."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response

from batzen.client import Client
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from services.bff.api.modern import models, views
from services.bff.api.modern.requests import capture_request, confirm_request, filter_of, refund_request, start_request
from services.bff.api.operations import Operations
from services.bff.api.polling import polled, tag
from services.bff.api.request_ids import of_key
from services.bff.api.who import NeededKey, Service, Who
from services.web.failures import Refusal
from services.web.front import Front

PaymentId: TypeAlias = Annotated[str, Path(pattern=r"^pay_[a-z0-9]{26}$", description="`pay_…`")]
PageSize: TypeAlias = Annotated[int, Query(ge=1, le=200)]
PageToken: TypeAlias = Annotated[str, Query(max_length=1000)]
Named: TypeAlias = Annotated[str, Query(max_length=128)]
ACCEPTED: Final = 202


class PaymentResources:
    """The handlers of payments."""

    def __init__(self, front: Front, operations: Operations) -> None:
        self._front = front
        self._operations = operations

    @property
    def _calls(self) -> Client:
        return self._front.peers.calls

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        one = "/payments/{payment_id}"
        router.add_api_route("/payments", self.start_payment, methods=["POST"], status_code=201)
        router.add_api_route("/payments", self.list_payments, methods=["GET"])
        router.add_api_route(one, self.get_payment, methods=["GET"], response_model=models.Payment)
        router.add_api_route(f"{one}/session", self.get_session, methods=["GET"])
        router.add_api_route(f"{one}/transitions", self.list_transitions, methods=["GET"])
        router.add_api_route(f"{one}/confirm", self.confirm_payment, methods=["POST"])
        router.add_api_route(f"{one}/sync", self.sync_payment, methods=["POST"])
        router.add_api_route(f"{one}/cancel", self.cancel_payment, methods=["POST"])
        router.add_api_route(f"{one}/preserve", self.preserve_payment, methods=["POST"])
        router.add_api_route(f"{one}/resume", self.resume_payment, methods=["POST"])
        router.add_api_route(f"{one}/retry", self.retry_payment, methods=["POST"])
        router.add_api_route(f"{one}/capture", self.capture_payment, methods=["POST"])
        router.add_api_route(f"{one}/refund-preview", self.preview_refund, methods=["GET"])
        router.add_api_route(f"{one}/refunds", self.refund_payment, methods=["POST"], status_code=201)

    async def start_payment(
        self, asker: Service, body: models.StartPayment, response: Response, key: NeededKey
    ) -> models.Session:
        """Start a payment. By a service alone, which answers for price and bookings."""
        self._operations.check_returns(asker, return_url=body.return_url, cancel_url=body.cancel_url)
        request = start_request(body, self._operations, request_id=of_key(asker, "start", key))
        session = await self._operations.start(asker, request)
        response.headers["Location"] = f"/v1/payments/{session.payment.payment_id}"
        return views.session(session, asker)

    async def list_payments(
        self,
        asker: Who,
        *,
        payer_id: Named = "",
        booking_id: Named = "",
        client_reference: Named = "",
        unsettled_only: bool = False,
        page_size: PageSize = 50,
        page_token: PageToken = "",
    ) -> models.PaymentPage:
        """List payments that the asker may see, the newest first; `page_token` is the `next_page_token` before."""
        found = filter_of(payer_id, booking_id, client_reference, unsettled_only=unsettled_only)
        request = status_pb2.ListPaymentsRequest(filter=found, page_size=page_size, page_token=page_token)
        page = await self._calls.status.ListPayments(request, metadata=asker.metadata)
        return models.PaymentPage(
            payments=[views.payment(one, asker) for one in page.payments], next_page_token=page.next_page_token
        )

    async def get_payment(self, request: Request, asker: Who, payment_id: PaymentId) -> Response:
        """Return a payment as it stands. With `If-None-Match` of the `ETag` before: 304 while nothing has changed."""
        payment = await self._operations.payment(asker, payment_id)
        return polled(request, tag(payment, asker), lambda: views.payment(payment, asker))

    async def get_session(self, asker: Who, payment_id: PaymentId) -> models.Session:
        """Return what the payer needs to go on: price, secret, hosted page, next action."""
        return views.session(await self._operations.session(asker, payment_id=payment_id), asker)

    async def list_transitions(
        self,
        asker: Who,
        payment_id: PaymentId,
        after_revision: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        page_size: PageSize = 100,
        page_token: PageToken = "",
    ) -> models.History:
        """Return the history of a payment, the oldest first."""
        request = status_pb2.ListTransitionsRequest(
            payment_id=payment_id, after_revision=after_revision, page_size=page_size, page_token=page_token
        )
        page = await self._calls.status.ListTransitions(request, metadata=asker.metadata)
        return models.History(
            transitions=[views.transition(one, is_service=asker.is_service) for one in page.transitions],
            next_page_token=page.next_page_token,
        )

    async def confirm_payment(
        self, asker: Who, payment_id: PaymentId, body: models.ConfirmPayment, response: Response, key: NeededKey
    ) -> models.Confirmed:
        """Submit a method at the price shown. A decline is a state: 200 with `last_error`. 202: it is not known yet."""
        if body.expected_total is None and not asker.is_service:
            raise Refusal(400, "FIELD_MISSING", field="expected_total")
        self._operations.check_returns(asker, return_url=body.return_url)
        request_id = of_key(asker, f"confirm|{payment_id}", key)
        request = confirm_request(body, self._operations, payment_id=payment_id, request_id=request_id)
        submitted = await self._operations.submit(asker, request)
        if submitted.is_unknown:
            response.status_code = ACCEPTED
        return models.Confirmed(payment=views.payment(submitted.payment, asker), redirect_url=submitted.redirect_url)

    async def sync_payment(
        self, asker: Who, payment_id: PaymentId, body: models.Nothing, key: NeededKey
    ) -> models.Confirmed:
        """Read the payment again at Stripe; safe at any time."""
        of_key(asker, "sync", key)
        request = pb.SyncPaymentRequest(payment_id=payment_id)
        answer = await self._calls.orchestrator.SyncPayment(request, metadata=asker.metadata)
        return models.Confirmed(
            payment=views.payment(answer.payment, asker), redirect_url=answer.next_action.redirect_url
        )

    async def cancel_payment(
        self, asker: Who, payment_id: PaymentId, body: models.Explained, key: NeededKey
    ) -> models.Payment:
        """Cancel a payment. One that is cancelled stays so."""
        request = pb.CancelPaymentRequest(
            request_id=of_key(asker, f"cancel|{payment_id}", key), payment_id=payment_id, reason=body.reason
        )
        answer = await self._calls.orchestrator.CancelPayment(request, metadata=asker.metadata)
        return views.payment(answer.payment, asker)

    async def preserve_payment(
        self, asker: Who, payment_id: PaymentId, body: models.PreservePayment, key: NeededKey
    ) -> models.Payment:
        """Keep an unfinished payment from expiring for a while."""
        request = pb.PreservePaymentRequest(
            request_id=of_key(asker, f"preserve|{payment_id}", key), payment_id=payment_id, reason=body.reason
        )
        request.window.FromSeconds(body.window_s)
        answer = await self._calls.orchestrator.PreservePayment(request, metadata=asker.metadata)
        return views.payment(answer.payment, asker)

    async def resume_payment(
        self, asker: Who, payment_id: PaymentId, body: models.ResumePayment, key: NeededKey
    ) -> models.Resumed:
        """Pick a payment up again, perhaps with another timing; where its quote has expired it is priced anew."""
        request = pb.ResumePaymentRequest(
            request_id=of_key(asker, f"resume|{payment_id}", key),
            payment_id=payment_id,
            timing=f"TIMING_{body.timing or 'UNSPECIFIED'}",
        )
        answer = await self._calls.orchestrator.ResumePayment(request, metadata=asker.metadata)
        return models.Resumed(
            session=views.session(answer.session, asker),
            price_changed=answer.price_changed,
            total_before=views.money(answer.total_before) if answer.HasField("total_before") else None,
            total_now=views.money(answer.total_now) if answer.HasField("total_now") else None,
        )

    async def retry_payment(
        self, asker: Who, payment_id: PaymentId, body: models.RetryPayment, key: NeededKey
    ) -> models.Session:
        """Try again now: charge what is scheduled, or begin another attempt, such as a fresh hosted page."""
        request = pb.RetryPaymentRequest(
            request_id=of_key(asker, f"retry|{payment_id}", key),
            payment_id=payment_id,
            collection=f"COLLECTION_{body.collection or 'UNSPECIFIED'}",
        )
        answer = await self._calls.orchestrator.RetryPayment(request, metadata=asker.metadata)
        session = answer.session if answer.HasField("session") else pb.PaymentSession(payment=answer.payment)
        return views.session(session, asker)

    async def capture_payment(
        self, asker: Service, payment_id: PaymentId, body: models.CapturePayment, key: NeededKey
    ) -> models.Payment:
        """Take what is held, in whole or in part."""
        request_id = of_key(asker, f"capture|{payment_id}", key)
        request = capture_request(body, payment_id=payment_id, request_id=request_id)
        answer = await self._calls.orchestrator.CapturePayment(request, metadata=asker.metadata)
        return views.payment(answer.payment, asker)

    async def preview_refund(
        self,
        asker: Service,
        payment_id: PaymentId,
        amount_minor: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
        currency_code: Annotated[str, Query(pattern=r"^([A-Z]{3})?$")] = "",
        seller_id: Named = "",
    ) -> models.RefundPreview:
        """Say what a refund would do, without doing it; `refundable` is what a refund expects."""
        request = pb.PreviewRefundRequest(payment_id=payment_id, seller_id=seller_id)
        if amount_minor is not None:
            request.amount.amount_minor, request.amount.currency_code = amount_minor, currency_code
        answer = await self._calls.orchestrator.PreviewRefund(request, metadata=asker.metadata)
        return models.RefundPreview(
            amount=views.money(answer.amount),
            refundable=views.money(answer.refundable),
            policy_amount=views.money(answer.policy_amount),
        )

    async def refund_payment(
        self, asker: Service, payment_id: PaymentId, body: models.RefundPayment, key: NeededKey
    ) -> models.Refund:
        """Give money back to the payer."""
        request_id = of_key(asker, f"refund|{payment_id}", key)
        request = refund_request(body, payment_id=payment_id, request_id=request_id)
        answer = await self._calls.orchestrator.RefundPayment(request, metadata=asker.metadata)
        return models.Refund(
            refund_id=answer.refund_id,
            amount=views.money(answer.amount),
            payment=views.payment(answer.payment, asker),
        )

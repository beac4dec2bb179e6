"""CheckoutService: reads a request, has the page made or ended, writes what is true now."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import checkout_pb2
from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceServicer
from services.gateway.call_log.engine import Calls
from services.gateway.checkout.addresses import PageAddresses
from services.gateway.checkout.create import CreateSession
from services.gateway.errors import CheckoutSessionNotFound, IntentNotFound, StripeUnavailable
from services.gateway.intents.cancel import CancelIntent, CancelIntentParams
from services.gateway.intents.creation import Creation
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.gateway.servicers.tenants import served_tenant
from services.gateway.stripe_api.session_objects import session_facts
from services.gateway.wire import checkout as wire
from services.gateway.wire.responses import to_proto
from services.runtime.database.idempotency import request_hash
from services.shared import fields

Context = aio.ServicerContext[Any, Any]


class CheckoutServicer(CheckoutServiceServicer):
    """The RPCs of hosted pages."""

    def __init__(
        self, *, payments: Store, calls: Calls, creation: Creation, addresses: PageAddresses, tenant_id: str
    ) -> None:
        self._payments = payments
        self._calls = calls
        self._creation = creation
        self._addresses = addresses
        self._tenant_id = tenant_id

    async def CreateCheckoutSession(
        self, request: checkout_pb2.CreateCheckoutSessionRequest, context: Context
    ) -> checkout_pb2.CreateCheckoutSessionResponse:
        """Create the page of an attempt."""
        asked = wire.page_request(request, tenant_id=served_tenant(self._tenant_id))
        result = await self._creation.make(CreateSession, asked.intent, params_of=asked.params_of)
        if not result.answer:
            raise StripeUnavailable
        payment, page = result.subject, result.subject.intents[asked.intent.attempt]
        if result.live is not None:
            url = session_facts(result.live).url
        else:
            url = await self._addresses.of(payment, page)
        return checkout_pb2.CreateCheckoutSessionResponse(
            observation=to_proto(payment.observation), session=wire.session_to_proto(page, url=url)
        )

    async def GetCheckoutSession(
        self, request: checkout_pb2.GetCheckoutSessionRequest, context: Context
    ) -> checkout_pb2.GetCheckoutSessionResponse:
        """Return the page of the current attempt."""
        payment = await self._payment(served_tenant(self._tenant_id), request.payment_id)
        page = payment.latest
        if page is None or not page.session_id:
            raise CheckoutSessionNotFound
        url = await self._addresses.of(payment, page)
        return checkout_pb2.GetCheckoutSessionResponse(session=wire.session_to_proto(page, url=url))

    async def ExpireCheckoutSession(
        self, request: checkout_pb2.ExpireCheckoutSessionRequest, context: Context
    ) -> checkout_pb2.ExpireCheckoutSessionResponse:
        """End the last page of a payment, or find how it ended."""
        tenant_id = served_tenant(self._tenant_id)
        request_id = fields.request_id(request.request_id)
        page = _last_page(await self._payment(tenant_id, request.payment_id))
        result = await self._calls.make(
            CancelIntent,
            params=CancelIntentParams(attempt=page.attempt, is_expiry=True),
            tenant_id=tenant_id,
            subject_id=request.payment_id,
            request_id=request_id,
            request_hash=request_hash(request),
        )
        ended = result.subject.intents.get(page.attempt, page)
        url = await self._addresses.of(result.subject, ended)
        return checkout_pb2.ExpireCheckoutSessionResponse(
            observation=to_proto(result.subject.observation), session=wire.session_to_proto(ended, url=url)
        )

    async def _payment(self, tenant_id: str, named: str) -> MirroredPayment:
        try:
            return await self._payments.require(tenant_id, fields.identifier(named, field="payment_id"))
        except IntentNotFound:
            raise CheckoutSessionNotFound from None


def _last_page(payment: MirroredPayment) -> Intent:
    """Return the page that was made last, whatever attempt came after it. Raises CheckoutSessionNotFound."""
    pages = [one for one in payment.intents.values() if one.session_id]
    if not pages:
        raise CheckoutSessionNotFound
    return max(pages, key=lambda page: page.attempt)

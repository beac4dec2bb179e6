"""What was tried at Stripe, and what Stripe said of it: attempts, calls without an answer, events."""

from __future__ import annotations

from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import ops_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceServicer
from services.gateway.call_log.store import CallStore
from services.gateway.mirror.store import Store
from services.gateway.webhooks.listing import EventList
from services.gateway.wire import attempts as wire
from services.runtime.rpc import call_context
from services.shared import fields

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200
Context = aio.ServicerContext[Any, Any]


class AttemptRpcs(GatewayOpsServiceServicer):
    """Lists it."""

    def __init__(self, payments: Store, calls: CallStore, events: EventList) -> None:
        self._payments = payments
        self._call_store = calls
        self._events = events

    async def ListAttempts(
        self, request: ops_pb2.ListAttemptsRequest, context: Context
    ) -> ops_pb2.ListAttemptsResponse:
        """Return the attempts of a payment."""
        tenant_id, payment_id = call_context.current_tenant(), fields.identifier(request.payment_id, field="payment_id")
        payment = await self._payments.read(tenant_id, payment_id)
        if payment is None:
            return ops_pb2.ListAttemptsResponse()
        return ops_pb2.ListAttemptsResponse(
            attempts=[wire.attempt(payment.intents[number], payment=payment) for number in sorted(payment.intents)],
            calls=[wire.open_call(one) for one in await self._call_store.open_on(tenant_id, payment_id)],
        )

    async def ListWebhookEvents(
        self, request: ops_pb2.ListWebhookEventsRequest, context: Context
    ) -> ops_pb2.ListWebhookEventsResponse:
        """Return Stripe's events, the newest first."""
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        page, token = await self._events.page(
            call_context.current_tenant(), wire.event_filter(request), size=size, page_token=request.page_token
        )
        return ops_pb2.ListWebhookEventsResponse(events=[wire.event(one) for one in page], next_page_token=token)

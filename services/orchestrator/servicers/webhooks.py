"""The part of OrchestratorOpsService that says where what happens is sent to, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol, TypeAlias

from google.protobuf.message import Message
from grpc import aio

from batzen.orchestrator.v1 import webhooks_pb2 as pb
from services.errors import FieldMissing
from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.webhooks_out.actions import Action
from services.orchestrator.webhooks_out.building import Webhooks
from services.orchestrator.wire import webhooks as wire
from services.orchestrator.wire.requests import WHY_CHARACTERS_MAX, request_key
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.runtime.work.kinds import WorkClass
from services.shared import fields
from services.shared.paging import position_in, token_for
from services.wire import fill_instant

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200

PutContext: TypeAlias = aio.ServicerContext[
    pb.PutWebhookSubscriptionRequest, Awaitable[pb.PutWebhookSubscriptionResponse]
]
SubscriptionsContext: TypeAlias = aio.ServicerContext[
    pb.ListWebhookSubscriptionsRequest, Awaitable[pb.ListWebhookSubscriptionsResponse]
]
DeleteContext: TypeAlias = aio.ServicerContext[
    pb.DeleteWebhookSubscriptionRequest, Awaitable[pb.DeleteWebhookSubscriptionResponse]
]
RotateContext: TypeAlias = aio.ServicerContext[pb.RotateWebhookSecretRequest, Awaitable[pb.RotateWebhookSecretResponse]]
TestContext: TypeAlias = aio.ServicerContext[
    pb.TestWebhookSubscriptionRequest, Awaitable[pb.TestWebhookSubscriptionResponse]
]
DeliveriesContext: TypeAlias = aio.ServicerContext[
    pb.ListWebhookDeliveriesRequest, Awaitable[pb.ListWebhookDeliveriesResponse]
]
ReplayContext: TypeAlias = aio.ServicerContext[
    pb.ReplayWebhookDeliveriesRequest, Awaitable[pb.ReplayWebhookDeliveriesResponse]
]


class _Decided(Protocol):
    """What every request has that an operator decides."""

    actor_id: str
    reason: str


class WebhookRpcs:
    """Reads a request, has it carried out, answers."""

    def __init__(self, webhooks: Webhooks, *, now: Callable[[], datetime]) -> None:
        self._webhooks = webhooks
        self._clock_now = now

    async def PutWebhookSubscription(
        self, request: pb.PutWebhookSubscriptionRequest, context: PutContext
    ) -> pb.PutWebhookSubscriptionResponse:
        """Say where what happens is sent to."""
        receiver = wire.receiver(request, self._webhooks.guard)
        put, secret = await self._webhooks.subscriptions.put(self._action(request, request), receiver)
        self._webhooks.wake(WorkClass.HOOKS)
        return pb.PutWebhookSubscriptionResponse(subscription=wire.subscription(put), secret=secret)

    async def ListWebhookSubscriptions(
        self, request: pb.ListWebhookSubscriptionsRequest, context: SubscriptionsContext
    ) -> pb.ListWebhookSubscriptionsResponse:
        """Return the subscriptions, and how their receivers do."""
        tenant_id = call_context.current_tenant()
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk, after = f"webhook subscriptions {tenant_id}", ""
        if request.page_token:
            after = position_in(request.page_token, walk=walk, parse=str, invalid=PageTokenInvalid)
        found = await self._webhooks.subscriptions.page(tenant_id, after=after, limit=size + 1)
        page = found[:size]
        return pb.ListWebhookSubscriptionsResponse(
            subscriptions=[wire.subscription(one) for one in page],
            next_page_token=token_for(page[-1].receiver.subscription_id, walk=walk) if len(found) > size else "",
        )

    async def DeleteWebhookSubscription(
        self, request: pb.DeleteWebhookSubscriptionRequest, context: DeleteContext
    ) -> pb.DeleteWebhookSubscriptionResponse:
        """Send nothing more."""
        name = wire.subscription_id(request.subscription_id)
        await self._webhooks.subscriptions.delete(self._action(request, request), name)
        self._webhooks.wake(WorkClass.HOOKS)
        return pb.DeleteWebhookSubscriptionResponse()

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: RotateContext
    ) -> pb.RotateWebhookSecretResponse:
        """Make a new secret."""
        name, overlap = wire.subscription_id(request.subscription_id), wire.overlap(request)
        action = self._action(request, request)
        rotated, secret = await self._webhooks.subscriptions.rotate(action, name, overlap=overlap)
        return pb.RotateWebhookSecretResponse(subscription=wire.subscription(rotated), secret=secret)

    async def TestWebhookSubscription(
        self, request: pb.TestWebhookSubscriptionRequest, context: TestContext
    ) -> pb.TestWebhookSubscriptionResponse:
        """Send a test event."""
        name = wire.subscription_id(request.subscription_id)
        sent = await self._webhooks.trials.send(request_key(request), name)
        self._webhooks.wake(WorkClass.HOOKS)
        return pb.TestWebhookSubscriptionResponse(delivery=wire.delivery(sent))

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: DeliveriesContext
    ) -> pb.ListWebhookDeliveriesResponse:
        """Return deliveries, the newest first."""
        tenant_id, wanted = call_context.current_tenant(), wire.wanted(request)
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk, before = f"webhook deliveries {tenant_id} {wanted}", None
        if request.page_token:
            before = position_in(request.page_token, walk=walk, parse=wire.read_place, invalid=PageTokenInvalid)
        found = await self._webhooks.log.page(tenant_id, wanted, before=before, limit=size + 1)
        page = found[:size]
        return pb.ListWebhookDeliveriesResponse(
            deliveries=[wire.delivery(one) for one in page],
            next_page_token=token_for(wire.place_of(page[-1]), walk=walk) if len(found) > size else "",
        )

    async def ReplayWebhookDeliveries(
        self, request: pb.ReplayWebhookDeliveriesRequest, context: ReplayContext
    ) -> pb.ReplayWebhookDeliveriesResponse:
        """Send deliveries again."""
        replayed = await self._webhooks.log.replay(self._action(request, request), wire.replayed(request))
        self._webhooks.wake(WorkClass.HOOKS)
        answer = pb.ReplayWebhookDeliveriesResponse(replayed_count=replayed.count)
        if replayed.next_time is not None:
            answer.has_more = True
            fill_instant(answer.next_time, replayed.next_time)
        return answer

    def _action(self, request: Message, decided: _Decided) -> Action:
        """Return what an operator decides, by whom and why."""
        if not decided.reason:
            raise FieldMissing(field="reason")
        return Action(
            key=request_key(request),
            request_hash=request_hash(request),
            actor_id=fields.identifier(decided.actor_id, field="actor_id"),
            reason=fields.text(decided.reason, field="reason", characters_max=WHY_CHARACTERS_MAX),
            time=self._clock_now(),
        )

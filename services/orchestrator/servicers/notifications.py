"""NotificationService: what payers, sellers and operators are told; and the RPCs by which operators say how."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Final, TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import notifications_pb2 as pb
from batzen.orchestrator.v1.notifications_pb2_grpc import NotificationServiceServicer
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceServicer
from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.mail.unsubscribe_tokens import UnsubscribeTokens
from services.orchestrator.notifications.domain import OptOut, Recipient, preferences
from services.orchestrator.notifications.kinds import Channel
from services.orchestrator.notifications.policies import NotificationPolicyStore
from services.orchestrator.notifications.store import NotificationStore
from services.orchestrator.notifications.watches import NotificationWatches
from services.orchestrator.wire import notifications as wire
from services.orchestrator.wire.requests import request_key
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc.call_context import current_tenant
from services.shared import fields
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200

ListNotificationsContext: TypeAlias = aio.ServicerContext[
    pb.ListNotificationsRequest, Awaitable[pb.ListNotificationsResponse]
]
MarkNotificationReadContext: TypeAlias = aio.ServicerContext[
    pb.MarkNotificationReadRequest, Awaitable[pb.MarkNotificationReadResponse]
]
MarkAllNotificationsReadContext: TypeAlias = aio.ServicerContext[
    pb.MarkAllNotificationsReadRequest, Awaitable[pb.MarkAllNotificationsReadResponse]
]
GetNotificationPreferencesContext: TypeAlias = aio.ServicerContext[
    pb.GetNotificationPreferencesRequest, Awaitable[pb.GetNotificationPreferencesResponse]
]
SetNotificationPreferencesContext: TypeAlias = aio.ServicerContext[
    pb.SetNotificationPreferencesRequest, Awaitable[pb.SetNotificationPreferencesResponse]
]
UnsubscribeNotificationsContext: TypeAlias = aio.ServicerContext[
    pb.UnsubscribeNotificationsRequest, Awaitable[pb.UnsubscribeNotificationsResponse]
]
WatchNotificationsContext: TypeAlias = aio.ServicerContext[
    pb.WatchNotificationsRequest, AsyncIterator[pb.WatchNotificationsResponse]
]
PutNotificationPolicyContext: TypeAlias = aio.ServicerContext[
    pb.PutNotificationPolicyRequest, Awaitable[pb.PutNotificationPolicyResponse]
]
ListNotificationPoliciesContext: TypeAlias = aio.ServicerContext[
    pb.ListNotificationPoliciesRequest, Awaitable[pb.ListNotificationPoliciesResponse]
]


class NotificationServicer(NotificationServiceServicer):
    """NotificationService."""

    def __init__(
        self,
        store: NotificationStore,
        policies: NotificationPolicyStore,
        watches: NotificationWatches,
        *,
        tokens: UnsubscribeTokens | None = None,
        now: Callable[[], datetime],
    ) -> None:
        """Without `tokens` no link declines anything."""
        self._tokens = tokens
        self._store = store
        self._policies = policies
        self._watches = watches
        self._now = now

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: ListNotificationsContext
    ) -> pb.ListNotificationsResponse:
        """Return a recipient's, the newest first."""
        tenant_id, recipient = current_tenant(), wire.recipient_of(request, is_read_only=True)
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk = f"notifications {tenant_id} {recipient.kind} {recipient.id} {request.unread_only}"
        before = None
        if request.page_token:
            before = position_in(request.page_token, walk=walk, parse=int, invalid=PageTokenInvalid)
        found = await self._store.page(
            tenant_id, recipient, before=before, unread_only=request.unread_only, limit=size + 1
        )
        page = found[:size]
        return pb.ListNotificationsResponse(
            notifications=map(wire.notification_to_proto, page),
            next_page_token=token_for(str(page[-1].number), walk=walk) if len(found) > size else "",
            unread_count=await self._store.unread_count(tenant_id, recipient),
        )

    async def MarkNotificationRead(
        self, request: pb.MarkNotificationReadRequest, context: MarkNotificationReadContext
    ) -> pb.MarkNotificationReadResponse:
        """Mark one as read."""
        fields.request_id(request.request_id)
        number = wire.number_of(request.notification_id, field="notification_id")
        recipient = wire.recipient_of(request, is_read_only=False)
        marked = await self._store.mark(current_tenant(), recipient, number, now=self._now())
        return pb.MarkNotificationReadResponse(notification=wire.notification_to_proto(marked))

    async def MarkAllNotificationsRead(
        self, request: pb.MarkAllNotificationsReadRequest, context: MarkAllNotificationsReadContext
    ) -> pb.MarkAllNotificationsReadResponse:
        """Mark all as read up to one."""
        fields.request_id(request.request_id)
        up_to = wire.number_of(request.up_to_notification_id, field="up_to_notification_id")
        tenant_id, recipient = current_tenant(), wire.recipient_of(request, is_read_only=False)
        await self._store.mark_all(tenant_id, recipient, up_to, now=self._now())
        return pb.MarkAllNotificationsReadResponse(unread_count=await self._store.unread_count(tenant_id, recipient))

    async def GetNotificationPreferences(
        self, request: pb.GetNotificationPreferencesRequest, context: GetNotificationPreferencesContext
    ) -> pb.GetNotificationPreferencesResponse:
        """Return what a recipient may be told, and opted out of."""
        recipient = wire.recipient_of(request, is_read_only=True)
        return pb.GetNotificationPreferencesResponse(preferences=await self._preferences(recipient))

    async def SetNotificationPreferences(
        self, request: pb.SetNotificationPreferencesRequest, context: SetNotificationPreferencesContext
    ) -> pb.SetNotificationPreferencesResponse:
        """Note what a recipient opts out of, or wants to be told again."""
        fields.request_id(request.request_id)
        recipient = wire.recipient_of(request, is_read_only=False)
        out, back = wire.opt_outs_of(request, recipient)
        await self._store.set_opt_outs(current_tenant(), recipient, out=out, back=back, now=self._now())
        return pb.SetNotificationPreferencesResponse(preferences=await self._preferences(recipient))

    async def UnsubscribeNotifications(
        self, request: pb.UnsubscribeNotificationsRequest, context: UnsubscribeNotificationsContext
    ) -> pb.UnsubscribeNotificationsResponse:
        """Have whoever a mail's link was made for get no more mails of its kind."""
        fields.request_id(request.request_id)
        declined = wire.declined(request, self._tokens, tenant_id=current_tenant())
        recipient = Recipient(declined.recipient_kind, declined.recipient_id)
        out = [OptOut(recipient, declined.kind, Channel.MAIL)]
        await self._store.set_opt_outs(declined.tenant_id, recipient, out=out, back=[], now=self._now())
        return pb.UnsubscribeNotificationsResponse(kind=declined.kind)

    async def WatchNotifications(
        self, request: pb.WatchNotificationsRequest, context: WatchNotificationsContext
    ) -> AsyncIterator[pb.WatchNotificationsResponse]:
        """Send a recipient's as they come."""
        recipient = wire.recipient_of(request, is_read_only=True)
        after = None
        if request.after_notification_id:
            after = wire.number_of(request.after_notification_id, field="after_notification_id")
        async for found, number in self._watches.watch(current_tenant(), recipient, after=after):
            yield pb.WatchNotificationsResponse(
                notifications=map(wire.notification_to_proto, found), after_notification_id=str(number)
            )

    async def _preferences(self, recipient: Recipient) -> list[pb.NotificationPreference]:
        tenant_id = current_tenant()
        policy = await self._policies.current(tenant_id)
        opt_outs = await self._store.opt_outs(tenant_id, recipient)
        return [wire.preference_to_proto(one) for one in preferences(recipient, policy, opt_outs)]


class NotificationPolicyRpcs(OrchestratorOpsServiceServicer):
    """Those of OrchestratorOpsService that say how a tenant tells."""

    def __init__(self, policies: NotificationPolicyStore, *, now: Callable[[], datetime]) -> None:
        self._notification_policies = policies
        self._now_put = now

    async def PutNotificationPolicy(
        self, request: pb.PutNotificationPolicyRequest, context: PutNotificationPolicyContext
    ) -> pb.PutNotificationPolicyResponse:
        """Say how the tenant tells from now on."""
        record = wire.put_policy(request, now=self._now_put())
        put = await self._notification_policies.put(request_key(request), request_hash(request), record)
        return pb.PutNotificationPolicyResponse(record=wire.record_to_proto(put))

    async def ListNotificationPolicies(
        self, request: pb.ListNotificationPoliciesRequest, context: ListNotificationPoliciesContext
    ) -> pb.ListNotificationPoliciesResponse:
        """Return what was put, the newest first."""
        tenant_id = current_tenant()
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk, before = f"notification policies {tenant_id}", None
        if request.page_token:
            before = position_in(request.page_token, walk=walk, parse=int, invalid=PageTokenInvalid)
        found = await self._notification_policies.page(tenant_id, before=before, limit=size + 1)
        page = found[:size]
        return pb.ListNotificationPoliciesResponse(
            records=[wire.record_to_proto(record) for _, record in page],
            next_page_token=token_for(str(page[-1][0]), walk=walk) if len(found) > size else "",
            defaults=wire.defaults(),
        )

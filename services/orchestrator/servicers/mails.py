"""Those of OrchestratorOpsService about mails: what became of them, and those that were given up tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import mails_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceServicer
from services.errors import FieldMissing
from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.mail.building import Mails
from services.orchestrator.mail.store import REPLAYED_MAX, read_place
from services.orchestrator.webhooks_out.actions import Action
from services.orchestrator.wire import mails as wire
from services.orchestrator.wire.requests import WHY_CHARACTERS_MAX, request_key
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc.call_context import current_tenant
from services.runtime.work.kinds import WorkClass
from services.shared import fields
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200

ListMailsContext: TypeAlias = aio.ServicerContext[pb.ListMailsRequest, Awaitable[pb.ListMailsResponse]]
ReplayMailsContext: TypeAlias = aio.ServicerContext[pb.ReplayMailsRequest, Awaitable[pb.ReplayMailsResponse]]


class MailRpcs(OrchestratorOpsServiceServicer):
    """Serves them."""

    def __init__(self, mailing: Mails, *, wake: Callable[[WorkClass], None], now: Callable[[], datetime]) -> None:
        self._mailing = mailing
        self._wake_mails = wake
        self._now_replayed = now

    async def ListMails(self, request: pb.ListMailsRequest, context: ListMailsContext) -> pb.ListMailsResponse:
        """Return mails, the newest first."""
        tenant_id, state = current_tenant(), wire.state_of(request)
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        if request.payment_id:
            fields.identifier(request.payment_id, field="payment_id")
        walk, before = f"mails {tenant_id} {request.payment_id} {state}", None
        if request.page_token:
            before = position_in(request.page_token, walk=walk, parse=read_place, invalid=PageTokenInvalid)
        found = await self._mailing.store.page(
            tenant_id, payment_id=request.payment_id, state=state, before=before, limit=size + 1
        )
        page = found[:size]
        return pb.ListMailsResponse(
            mails=map(wire.mail_to_proto, page),
            next_page_token=token_for(page[-1].place, walk=walk) if len(found) > size else "",
        )

    async def ReplayMails(self, request: pb.ReplayMailsRequest, context: ReplayMailsContext) -> pb.ReplayMailsResponse:
        """Have those that were given up tried again."""
        if not request.reason:
            raise FieldMissing(field="reason")
        action = Action(
            key=request_key(request),
            request_hash=request_hash(request),
            actor_id=fields.identifier(request.actor_id, field="actor_id"),
            reason=fields.text(request.reason, field="reason", characters_max=WHY_CHARACTERS_MAX),
            time=self._now_replayed(),
        )
        replayed = await self._mailing.replay(action)
        self._wake_mails(WorkClass.MAILS)
        return pb.ReplayMailsResponse(replayed_count=replayed, has_more=replayed == REPLAYED_MAX)

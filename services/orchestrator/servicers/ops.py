"""OrchestratorOpsService, for operators: what needs them, the switch that stops new payments, and policies of money."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import ops_pb2 as pb
from services.orchestrator.diagnosis.building import Diagnoses
from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.imports.importer import Imports
from services.orchestrator.mail.building import Mails
from services.orchestrator.notifications.policies import NotificationPolicyStore
from services.orchestrator.operations.servicer import Operations, OperationsRpcs, Resolve
from services.orchestrator.servicers.diagnosis import DiagnosisRpcs
from services.orchestrator.servicers.figures import FigureRpcs
from services.orchestrator.servicers.imports import ImportRpcs
from services.orchestrator.servicers.mails import MailRpcs
from services.orchestrator.servicers.notifications import NotificationPolicyRpcs
from services.orchestrator.servicers.webhooks import WebhookRpcs
from services.orchestrator.storage.money_policies import MoneyPolicyStore
from services.orchestrator.storage.start_switches import StartSwitchStore
from services.orchestrator.webhooks_out.building import Webhooks
from services.orchestrator.wire.money_policies import put_policy, record_to_proto
from services.orchestrator.wire.requests import paused_starts, request_key, resumed_starts
from services.orchestrator.wire.responses import start_switch
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200

PauseContext: TypeAlias = aio.ServicerContext[pb.PauseStartsRequest, Awaitable[pb.PauseStartsResponse]]
ResumeContext: TypeAlias = aio.ServicerContext[pb.ResumeStartsRequest, Awaitable[pb.ResumeStartsResponse]]
ListContext: TypeAlias = aio.ServicerContext[pb.ListStartSwitchesRequest, Awaitable[pb.ListStartSwitchesResponse]]
PutContext: TypeAlias = aio.ServicerContext[pb.PutPolicyRequest, Awaitable[pb.PutPolicyResponse]]
PoliciesContext: TypeAlias = aio.ServicerContext[pb.ListPoliciesRequest, Awaitable[pb.ListPoliciesResponse]]


class OrchestratorOpsServicer(
    WebhookRpcs, MailRpcs, DiagnosisRpcs, OperationsRpcs, FigureRpcs, NotificationPolicyRpcs, ImportRpcs
):
    """OrchestratorOpsService."""

    def __init__(
        self,
        start_switches: StartSwitchStore,
        policies: MoneyPolicyStore,
        diagnoses: Diagnoses,
        operations: Operations,
        webhooks: Webhooks,
        *,
        mailing: Mails,
        notification_policies: NotificationPolicyStore,
        imports: Imports,
        resolve: Resolve,
        now: Callable[[], datetime],
    ) -> None:
        DiagnosisRpcs.__init__(self, diagnoses)
        FigureRpcs.__init__(self, operations.figures)
        NotificationPolicyRpcs.__init__(self, notification_policies, now=now)
        ImportRpcs.__init__(self, imports)
        WebhookRpcs.__init__(self, webhooks, now=now)
        MailRpcs.__init__(self, mailing, wake=webhooks.wake, now=now)
        self.operations, self.resolve = operations, resolve
        self._start_switches = start_switches
        self._policies = policies
        self._now = now

    async def PauseStarts(self, request: pb.PauseStartsRequest, context: PauseContext) -> pb.PauseStartsResponse:
        """Stop new payments of the operator's tenant."""
        switch = paused_starts(request, now=self._now())
        turned = await self._start_switches.turn(request_key(request), request_hash(request), switch)
        return pb.PauseStartsResponse(start_switch=start_switch(turned))

    async def ResumeStarts(self, request: pb.ResumeStartsRequest, context: ResumeContext) -> pb.ResumeStartsResponse:
        """Take them again."""
        switch = resumed_starts(request, now=self._now())
        turned = await self._start_switches.turn(request_key(request), request_hash(request), switch)
        return pb.ResumeStartsResponse(start_switch=start_switch(turned))

    async def ListStartSwitches(
        self, request: pb.ListStartSwitchesRequest, context: ListContext
    ) -> pb.ListStartSwitchesResponse:
        """Return what was said of them, the newest first."""
        tenant_id = call_context.current_tenant()
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk, before = f"start switches {tenant_id}", None
        if request.page_token:
            before = position_in(request.page_token, walk=walk, parse=int, invalid=PageTokenInvalid)
        found = await self._start_switches.page(tenant_id, before=before, limit=size + 1)
        page = found[:size]
        return pb.ListStartSwitchesResponse(
            start_switches=[start_switch(switch) for _, switch in page],
            next_page_token=token_for(str(page[-1][0]), walk=walk) if len(found) > size else "",
        )

    async def PutPolicy(self, request: pb.PutPolicyRequest, context: PutContext) -> pb.PutPolicyResponse:
        """Say by which policy the tenant's payments are paid out and refunded from now on."""
        record = put_policy(request, now=self._now())
        put = await self._policies.put(request_key(request), request_hash(request), record)
        return pb.PutPolicyResponse(record=record_to_proto(put))

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: PoliciesContext) -> pb.ListPoliciesResponse:
        """Return what was put, the newest first."""
        tenant_id = call_context.current_tenant()
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk, before = f"policies {tenant_id}", None
        if request.page_token:
            before = position_in(request.page_token, walk=walk, parse=int, invalid=PageTokenInvalid)
        found = await self._policies.page(tenant_id, before=before, limit=size + 1)
        page = found[:size]
        return pb.ListPoliciesResponse(
            records=[record_to_proto(record) for _, record in page],
            next_page_token=token_for(str(page[-1][0]), walk=walk) if len(found) > size else "",
        )

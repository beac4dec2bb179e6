"""ListStuckPayments: what does not move, as it stands, with what an operator may decide."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.status.v1 import status_pb2
from services.errors import ServiceError
from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.domain.plan import Plan
from services.orchestrator.domain.resolution import fitting
from services.orchestrator.domain.stuck import Stuck
from services.orchestrator.operations.stuck import StuckStore
from services.orchestrator.operations.wire import page_size, stuck_filter, stuck_position, stuck_to_proto
from services.orchestrator.peers.status import Status
from services.orchestrator.storage.store import Store
from services.orchestrator.wire.responses import unrecorded_payment
from services.runtime.rpc import call_context
from services.shared.paging import position_in, token_for

AT_ONCE_MAX: Final = 8
"""Payments that are read at a time; an operator waits for a page, and callers for their payments."""

_logger = logging.getLogger(__name__)


class StuckPayments:
    """Lists them."""

    def __init__(self, stuck: StuckStore, store: Store, status: Status) -> None:
        self._stuck = stuck
        self._store = store
        self._status = status

    async def page(self, request: pb.ListStuckPaymentsRequest) -> pb.ListStuckPaymentsResponse:
        """Return a page, those that are stuck for longest first."""
        tenant_id, size, wanted = call_context.current_tenant(), page_size(request.page_size), stuck_filter(request)
        walk, after = f"stuck {tenant_id} {wanted}", None
        if request.page_token:
            after = position_in(request.page_token, walk=walk, parse=stuck_position, invalid=PageTokenInvalid)
        found = await self._stuck.page(tenant_id, wanted, after=after, limit=size + 1)
        page, room = found[:size], asyncio.Semaphore(AT_ONCE_MAX)
        payments = await asyncio.gather(*(self._one(tenant_id, one, room) for one in page))
        last = f"{page[-1].stuck_time.isoformat()} {page[-1].payment_id}" if len(found) > size else ""
        return pb.ListStuckPaymentsResponse(
            payments=payments,
            next_page_token=token_for(last, walk=walk) if last else "",
        )

    async def _one(self, tenant_id: str, stuck: Stuck, room: asyncio.Semaphore) -> pb.StuckPayment:
        async with room:
            plan = await self._plan(tenant_id, stuck.payment_id)
            if plan is None:
                return stuck_to_proto(stuck, status_pb2.Payment(payment_id=stuck.payment_id), ())
            return stuck_to_proto(stuck, await self._payment(plan), fitting(plan))

    async def _plan(self, tenant_id: str, payment_id: str) -> Plan | None:
        """Return the plan; None of one that cannot even be read, of which an operator has to hear all the same."""
        try:
            return await self._store.read(tenant_id, payment_id, payer_id=None)
        except (KeyError, TypeError, ValueError):
            _logger.exception("%s cannot be read", payment_id)
            return None

    async def _payment(self, plan: Plan) -> status_pb2.Payment:
        try:
            return await self._status.payment(plan.payment_id)
        except ServiceError:  # status is away, or never heard of it
            return unrecorded_payment(plan)

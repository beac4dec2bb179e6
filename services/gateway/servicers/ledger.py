"""The RPCs of GatewayOpsService that read the ledger."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import ops_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceServicer
from services.gateway.ledger.store import NEVER, Ledger
from services.gateway.wire import ledger as wire
from services.runtime.rpc import call_context
from services.shared import fields

Context = aio.ServicerContext[Any, Any]

STATEMENT_PAGE_LEAST = 2
"""Lines of a fact of two currencies stay on one page."""


class LedgerRpcs(GatewayOpsServiceServicer):
    """What was booked, what accounts come to, and what a seller was owed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def ListLedgerEntries(
        self, request: ops_pb2.ListLedgerEntriesRequest, context: Context
    ) -> ops_pb2.ListLedgerEntriesResponse:
        """Return what was booked."""
        page, token = await self._ledger.entries(
            call_context.current_tenant(),
            wire.entry_filter(request),
            page_size=wire.page_size(request.page_size),
            page_token=request.page_token,
        )
        return ops_pb2.ListLedgerEntriesResponse(entries=map(wire.entry, page), next_page_token=token)

    async def GetBalances(self, request: ops_pb2.GetBalancesRequest, context: Context) -> ops_pb2.GetBalancesResponse:
        """Return what accounts come to."""
        account, seller_id, country = wire.account_asked(request.account, seller_id=request.seller_id)
        found = await self._ledger.balances(
            call_context.current_tenant(),
            account=account,
            seller_id=seller_id,
            country=country,
            at=wire.instant(request, "at_time", unset=NEVER),
        )
        return ops_pb2.GetBalancesResponse(balances=map(wire.balance, found))

    async def GetSellerStatement(
        self, request: ops_pb2.GetSellerStatementRequest, context: Context
    ) -> ops_pb2.GetSellerStatementResponse:
        """Return what a seller was owed, fact by fact."""
        seller_id = fields.identifier(request.seller_id, field="seller_id")
        start_time, end_time = wire.span(request)
        statement = await self._ledger.statement(
            call_context.current_tenant(),
            seller_id,
            start_time=start_time,
            end_time=end_time,
            page_size=wire.page_size(request.page_size, least=STATEMENT_PAGE_LEAST),
            page_token=request.page_token,
        )
        return ops_pb2.GetSellerStatementResponse(
            opening=wire.owed(statement.opening),
            lines=map(wire.line, statement.lines),
            closing=wire.owed(statement.closing),
            next_page_token=statement.next_token,
        )

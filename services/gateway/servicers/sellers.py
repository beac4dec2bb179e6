"""SellerService: reads a request, has the account stored or read, answers with it."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import sellers_pb2
from batzen.gateway.v1.sellers_pb2_grpc import SellerServiceServicer
from services.gateway.sellers.operations import Sellers
from services.gateway.servicers.tenants import served_tenant
from services.gateway.stripe_api import stripe_ids
from services.gateway.wire.responses import account_to_proto
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields

Context = aio.ServicerContext[Any, Any]


class SellerServicer(SellerServiceServicer):
    """RPCs that are only announced answer UNIMPLEMENTED."""

    def __init__(self, *, sellers: Sellers, tenant_id: str) -> None:
        self._sellers = sellers
        self._tenant_id = tenant_id

    async def PutSellerAccount(
        self, request: sellers_pb2.PutSellerAccountRequest, context: Context
    ) -> sellers_pb2.PutSellerAccountResponse:
        """Create a seller's account, or take one over."""
        request_id = fields.request_id(request.request_id)
        seller_id = fields.identifier(request.seller_id, field="seller_id")
        stripe_account_id = request.stripe_account_id
        if stripe_account_id:
            stripe_ids.read(stripe_account_id, stripe_ids.ACCOUNT, field="stripe_account_id")
        account = await self._sellers.put(
            served_tenant(self._tenant_id),
            seller_id,
            request_id=request_id,
            request_hash=request_hash(request),
            country_code="" if stripe_account_id else fields.country(request.country_code),
            email="" if stripe_account_id else fields.email(request.email, field="email"),
            stripe_account_id=stripe_account_id,
        )
        return sellers_pb2.PutSellerAccountResponse(account=account_to_proto(account))

    async def GetSellerAccount(
        self, request: sellers_pb2.GetSellerAccountRequest, context: Context
    ) -> sellers_pb2.GetSellerAccountResponse:
        """Return a seller's account."""
        seller_id = fields.identifier(request.seller_id, field="seller_id")
        account = await self._sellers.get(call_context.current_tenant(), seller_id)
        return sellers_pb2.GetSellerAccountResponse(account=account_to_proto(account))

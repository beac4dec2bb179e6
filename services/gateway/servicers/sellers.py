"""SellerService: reads a request, has accounts and payouts stored or read, answers with them."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import sellers_pb2
from batzen.gateway.v1.sellers_pb2_grpc import SellerServiceServicer
from services.gateway.payouts.operations import Payouts
from services.gateway.sellers.onboarding import Onboarding
from services.gateway.sellers.operations import Sellers
from services.gateway.servicers.tenants import served_tenant
from services.gateway.stripe_api import stripe_ids
from services.gateway.wire.responses import timestamp
from services.gateway.wire.sellers import account_to_proto, asked_particulars, payout_to_proto, receipt_time
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields

Context = aio.ServicerContext[Any, Any]


class SellerServicer(SellerServiceServicer):
    """Answers about sellers."""

    def __init__(self, *, sellers: Sellers, onboarding: Onboarding, payouts: Payouts, tenant_id: str) -> None:
        self._sellers = sellers
        self._onboarding = onboarding
        self._payouts = payouts
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
            particulars=asked_particulars(request),
        )
        return sellers_pb2.PutSellerAccountResponse(account=account_to_proto(account))

    async def GetSellerAccount(
        self, request: sellers_pb2.GetSellerAccountRequest, context: Context
    ) -> sellers_pb2.GetSellerAccountResponse:
        """Return a seller's account."""
        seller_id = fields.identifier(request.seller_id, field="seller_id")
        at = receipt_time(request)
        account = await self._sellers.get(call_context.current_tenant(), seller_id, receipt_time=at)
        return sellers_pb2.GetSellerAccountResponse(account=account_to_proto(account))

    async def CreateOnboardingLink(
        self, request: sellers_pb2.CreateOnboardingLinkRequest, context: Context
    ) -> sellers_pb2.CreateOnboardingLinkResponse:
        """Make a link for the seller."""
        link = await self._onboarding.link(
            served_tenant(self._tenant_id),
            fields.identifier(request.seller_id, field="seller_id"),
            return_url=fields.url(request.return_url, field="return_url"),
            refresh_url=fields.url(request.refresh_url, field="refresh_url"),
        )
        return sellers_pb2.CreateOnboardingLinkResponse(url=link.url, expire_time=timestamp(link.expire_time))

    async def ListPayouts(
        self, request: sellers_pb2.ListPayoutsRequest, context: Context
    ) -> sellers_pb2.ListPayoutsResponse:
        """Return payouts of a seller or of the platform."""
        seller_id = fields.identifier(request.seller_id, field="seller_id") if request.seller_id else ""
        payouts, token = await self._payouts.page(
            served_tenant(self._tenant_id), seller_id, page_size=request.page_size, page_token=request.page_token
        )
        return sellers_pb2.ListPayoutsResponse(payouts=map(payout_to_proto, payouts), next_page_token=token)

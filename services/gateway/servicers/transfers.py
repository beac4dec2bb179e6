"""TransferService: reads a request, makes the call, writes what is true now."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import transfers_pb2
from batzen.gateway.v1.transfers_pb2_grpc import TransferServiceServicer
from services.errors import FieldMissing
from services.gateway.call_log.engine import Calls
from services.gateway.errors import IntentNotFound, NotNow, StripeUnavailable, TransferExceedsPart
from services.gateway.mirror.store import Store
from services.gateway.sellers.operations import Sellers
from services.gateway.servicers.tenants import served_tenant
from services.gateway.settlement.domain import went_back
from services.gateway.settlement.listing import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, TransferList
from services.gateway.settlement.moves import ByHand
from services.gateway.settlement.settler import Settler
from services.gateway.settlement.transfers import CreateTransfer, TransferParams
from services.gateway.settlement.way_back import ReverseTransfer, WayBackParams
from services.gateway.wire import transfers as wire
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields

Context = aio.ServicerContext[Any, Any]


class TransferServicer(TransferServiceServicer):
    """Sends sellers their parts by hand, takes them back, and says what was sent."""

    def __init__(
        self,
        *,
        payments: Store,
        calls: Calls,
        sellers: Sellers,
        settler: Settler,
        transfers: TransferList,
        tenant_id: str,
    ) -> None:
        self._payments = payments
        self._calls = calls
        self._sellers = sellers
        self._settler = settler
        self._transfers = transfers
        self._tenant_id = tenant_id

    async def CreateTransfer(
        self, request: transfers_pb2.CreateTransferRequest, context: Context
    ) -> transfers_pb2.CreateTransferResponse:
        """Send a seller a part of a payment now."""
        tenant_id, request_id = served_tenant(self._tenant_id), fields.request_id(request.request_id)
        payment_id = fields.identifier(request.payment_id, field="payment_id")
        seller_id = fields.identifier(request.seller_id, field="seller_id")
        actor_id = fields.identifier(request.actor_id, field="actor_id")
        payment = await self._payments.require_created(tenant_id, payment_id)
        charge_minor = wire.amount(request.amount, currency_code=payment.currency_code)
        account = await self._sellers.get(tenant_id, seller_id)
        counting = payment.intents[payment.observation.attempt]
        if not counting.captured_minor:
            raise IntentNotFound
        if counting.rate is None:
            await self._settler.read_charge(payment, counting.attempt)
            payment = await self._payments.require(tenant_id, payment_id)
            if payment.intents[counting.attempt].rate is None:  # Stripe books it within seconds
                raise StripeUnavailable
        asked = ByHand(seller_id=seller_id, charge_minor=charge_minor, actor_id=actor_id)
        try:
            result = await self._calls.make(
                CreateTransfer,
                params=TransferParams(by_hand=asked, account_id=account.stripe_account_id),
                tenant_id=tenant_id,
                subject_id=payment_id,
                request_id=request_id,
                request_hash=request_hash(request),
                deliver="transfer by hand",
            )
        except NotNow as nothing:  # so little that it comes to nothing in the currency of the settlement
            raise TransferExceedsPart(field="amount", due_minor=0) from nothing
        if not result.answer:  # it goes on, and a repeat says what came of it
            raise StripeUnavailable
        found = await self._transfers.find(tenant_id, result.answer["movement_id"])
        return transfers_pb2.CreateTransferResponse(transfer=wire.to_proto(found))

    async def ReverseTransfer(
        self, request: transfers_pb2.ReverseTransferRequest, context: Context
    ) -> transfers_pb2.ReverseTransferResponse:
        """Take a transfer back, or a part of it."""
        tenant_id, request_id = served_tenant(self._tenant_id), fields.request_id(request.request_id)
        transfer_id = fields.identifier(request.transfer_id, field="transfer_id")
        actor_id = fields.identifier(request.actor_id, field="actor_id")
        listed = await self._transfers.find(tenant_id, transfer_id)
        charge_minor = wire.amount(request.amount, currency_code=listed.currency_code)
        payment = await self._payments.require(tenant_id, listed.payment_id)
        if listed.transfer.is_assumed:
            await self._settler.read_charge(payment, listed.transfer.attempt)
            listed = await self._transfers.find(tenant_id, transfer_id)
            payment = await self._payments.require(tenant_id, listed.payment_id)
        before = went_back(listed.transfer, payment.movements.values())
        result = await self._calls.make(
            ReverseTransfer,
            params=WayBackParams(
                of_movement_id=transfer_id, until_minor=before.charge_minor + charge_minor, actor_id=actor_id
            ),
            tenant_id=tenant_id,
            subject_id=listed.payment_id,
            request_id=request_id,
            request_hash=request_hash(request),
            deliver="transfer reversed by hand",
        )
        if not result.answer:  # it goes on, and a repeat says what came of it
            raise StripeUnavailable
        found = await self._transfers.find(tenant_id, transfer_id)
        return transfers_pb2.ReverseTransferResponse(transfer=wire.to_proto(found))

    async def ListTransfers(
        self, request: transfers_pb2.ListTransfersRequest, context: Context
    ) -> transfers_pb2.ListTransfersResponse:
        """Return the transfers of a payment or of a seller, the newest first."""
        if not request.payment_id and not request.seller_id:
            raise FieldMissing(field="payment_id")
        payment_id = fields.identifier(request.payment_id, field="payment_id") if request.payment_id else ""
        seller_id = fields.identifier(request.seller_id, field="seller_id") if request.seller_id else ""
        found, token = await self._transfers.page(
            call_context.current_tenant(),
            payment_id=payment_id,
            seller_id=seller_id,
            size=fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX),
            page_token=request.page_token,
        )
        return transfers_pb2.ListTransfersResponse(
            transfers=[wire.to_proto(one) for one in found], next_page_token=token
        )

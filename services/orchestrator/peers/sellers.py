"""Sellers: the gateway keeps what receipts call them, and their VAT ids."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from batzen.gateway.v1 import sellers_pb2
from batzen.gateway.v1.sellers_pb2_grpc import SellerServiceStub
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.peers.refusals import answered
from services.shared.refusals import Refusal
from services.wire import fill_instant

PEER: Final = "gateway"
AT_ONCE_MAX: Final = 10
"""Sellers that are asked for side by side: a cart of a hundred is no burst."""


class ReceiptSellers:
    """What is asked of the gateway."""

    def __init__(self, stub: SellerServiceStub) -> None:
        self._stub = stub

    async def of(self, seller_ids: Iterable[str], issued: datetime) -> list[pb.ReceiptParty]:
        """Return what receipts of a time say of sellers, in their order; those of whom nothing is known are left out.

        A gateway of a release before this one says what is true now.
        """
        room = asyncio.Semaphore(AT_ONCE_MAX)

        async def find(seller_id: str) -> pb.ReceiptParty | None:
            asked = sellers_pb2.GetSellerAccountRequest(seller_id=seller_id)
            fill_instant(asked.receipt_time, issued)
            async with room:
                try:
                    account = (await answered(self._stub.GetSellerAccount(asked), PEER)).account
                except Refusal as refusal:
                    if refusal.status != "NOT_FOUND":
                        raise
                    return None
            return pb.ReceiptParty(seller_id=seller_id, name=account.receipt_name, vat_id=account.vat_id)

        found = await asyncio.gather(*(find(one) for one in seller_ids if one))
        return [one for one in found if one is not None and (one.name or one.vat_id)]

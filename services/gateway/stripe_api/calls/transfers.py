"""Transfers of Stripe's, and their reversals."""

from __future__ import annotations

from functools import partial

from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json


class TransferCalls:
    """Makes, reads and reverses transfers. What Stripe answered once stands: neither changes, but for metadata."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Make a transfer."""
        got = await self._transport.post("/v1/transfers", params, key=key, is_repeat=is_repeat, of_type="transfer")
        return got.object

    async def reverse(self, transfer_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Take a transfer back, or a part of it."""
        path = f"{_path(transfer_id)}/reversals"
        got = await self._transport.post(path, params, key=key, is_repeat=is_repeat, of_type="transfer_reversal")
        return got.object

    async def retrieve(self, transfer_id: str) -> Json:
        """Read a transfer, with the newest of its reversals."""
        return await self._transport.get(_path(transfer_id), partial(outcomes.is_object, of_type="transfer"))

    async def reversals_of(self, transfer_id: str) -> list[Json]:
        """Read the reversals of a transfer, the newest first."""
        return await self._transport.all(f"{_path(transfer_id)}/reversals", of_type="transfer_reversal")

    async def of_group(self, transfer_group: str) -> list[Json]:
        """Read the transfers of a group, the newest first."""
        return await self._transport.all("/v1/transfers", of_type="transfer", transfer_group=transfer_group)


def _path(transfer_id: str) -> str:
    return f"/v1/transfers/{stripe_ids.in_path(transfer_id, stripe_ids.TRANSFER)}"

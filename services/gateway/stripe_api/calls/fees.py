"""Application fees of Stripe's, and what of them was given back."""

from __future__ import annotations

from functools import partial

from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json


class FeeCalls:
    """Reads application fees and gives them back. A refund of one that Stripe answered stands as it is."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def refund(self, fee_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Give a seller a fee back, or a part of it."""
        path = f"{_path(fee_id)}/refunds"
        got = await self._transport.post(path, params, key=key, is_repeat=is_repeat, of_type="fee_refund")
        return got.object

    async def retrieve(self, fee_id: str) -> Json:
        """Read a fee, with the newest of its refunds."""
        return await self._transport.get(_path(fee_id), partial(outcomes.is_object, of_type="application_fee"))

    async def refunds_of(self, fee_id: str) -> list[Json]:
        """Read the refunds of a fee, the newest first."""
        return await self._transport.all(f"{_path(fee_id)}/refunds", of_type="fee_refund")

    async def of_charge(self, charge_id: str) -> list[Json]:
        """Read the fees of a charge, one of each capture, the newest first."""
        return await self._transport.all("/v1/application_fees", of_type="application_fee", charge=charge_id)


def _path(fee_id: str) -> str:
    return f"/v1/application_fees/{stripe_ids.in_path(fee_id, stripe_ids.FEE)}"

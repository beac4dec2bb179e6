"""Disputes of Stripe's."""

from __future__ import annotations

from functools import partial

from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import Transport, as_it_is_now
from services.shared.codec import Json

DISPUTES = "/v1/disputes"


class DisputeCalls:
    """Reads and answers disputes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def of_charge(self, charge_id: str) -> list[Json]:
        """Read the disputes and inquiries of a charge, the newest first."""
        return await self._transport.all(DISPUTES, of_type="dispute", charge=charge_id)

    async def retrieve(self, dispute_id: str) -> Json:
        """Read one dispute with its evidence."""
        return await self._transport.get(_path(dispute_id), partial(outcomes.is_object, of_type="dispute"))

    async def update(self, dispute_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Draft evidence, or hand it in."""
        return await self._change(_path(dispute_id), params, key=key, is_repeat=is_repeat)

    async def close(self, dispute_id: str, *, key: str, is_repeat: bool = False) -> Json:
        """Give a dispute up."""
        return await self._change(f"{_path(dispute_id)}/close", {}, key=key, is_repeat=is_repeat)

    async def _change(self, path: str, params: Json, *, key: str, is_repeat: bool) -> Json:
        got = await self._transport.post(path, params, key=key, is_repeat=is_repeat, of_type="dispute")
        if got.is_replayed:
            return await as_it_is_now(self.retrieve(str(got.object["id"])))
        return got.object


def _path(dispute_id: str) -> str:
    return f"{DISPUTES}/{stripe_ids.in_path(dispute_id, stripe_ids.DISPUTE)}"

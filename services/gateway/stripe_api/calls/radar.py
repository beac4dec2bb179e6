"""Reviews of Stripe's Radar, and early fraud warnings of card issuers."""

from __future__ import annotations

from functools import partial

from services.gateway.errors import StripeRefused, StripeUnavailable
from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.outcomes import MISSING
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json

_WARNING = "radar.early_fraud_warning"


class RadarCalls:
    """Reads reviews and warnings."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def is_over(self, object_id: str) -> bool:
        """Whether nobody has to look at a review or a warning any more: Stripe says so, or does not have it."""
        if object_id.startswith(stripe_ids.REVIEW):
            review = await self._read("/v1/reviews", object_id, stripe_ids.REVIEW, of_type="review")
            return review is None or not review.get("open")
        warning = await self._read(
            "/v1/radar/early_fraud_warnings", object_id, stripe_ids.FRAUD_WARNING, of_type=_WARNING
        )
        return warning is None or not warning.get("actionable")

    async def _read(self, path: str, object_id: str, prefixes: tuple[str, ...], *, of_type: str) -> Json | None:
        is_sound = partial(outcomes.is_object, of_type=of_type)
        try:
            return await self._transport.get(
                f"{path}/{stripe_ids.in_path(object_id, prefixes)}", is_sound, may_be_missing=True, may_be_denied=True
            )
        except StripeRefused as refusal:
            if refusal.metadata["code"] == MISSING:
                return None
            raise StripeUnavailable from refusal

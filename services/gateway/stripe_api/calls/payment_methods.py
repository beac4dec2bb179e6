"""Payment methods of Stripe's."""

from __future__ import annotations

from functools import partial

from services.gateway.errors import StripeRefused, StripeUnavailable
from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.outcomes import MISSING
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json


class PaymentMethodCalls:
    """Attaches, detaches and reads payment methods."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def attach(self, method_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Attach a payment method to a customer."""
        path = f"{_method_path(method_id)}/attach"
        return (await self._transport.post(path, params, key=key, is_repeat=is_repeat, of_type="payment_method")).object

    async def detach(self, method_id: str, *, key: str, is_repeat: bool = False) -> Json:
        """Detach a payment method from its customer; it can never be used again."""
        path = f"{_method_path(method_id)}/detach"
        return (await self._transport.post(path, {}, key=key, is_repeat=is_repeat, of_type="payment_method")).object

    async def retrieve(self, method_id: str) -> Json | None:
        """Read a payment method; None if Stripe knows none by this id."""
        is_method = partial(outcomes.is_object, of_type="payment_method")
        try:
            return await self._transport.get(_method_path(method_id), is_method, may_be_missing=True)
        except StripeRefused as refusal:
            if refusal.metadata["code"] == MISSING:
                return None
            raise StripeUnavailable from refusal

    async def of_customer(self, customer_id: str) -> list[Json] | None:
        """Read the payment methods of a customer, the newest first; None of one who is gone."""
        try:
            return await self._transport.all(
                "/v1/payment_methods", of_type="payment_method", may_be_missing=True, customer=customer_id
            )
        except StripeRefused as refusal:
            if refusal.metadata["code"] == MISSING:
                return None
            raise StripeUnavailable from refusal


def _method_path(method_id: str) -> str:
    return f"/v1/payment_methods/{stripe_ids.in_path(method_id, stripe_ids.PAYMENT_METHOD)}"

"""The call that deletes a payer's customer at Stripe, and the methods kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation
from services.gateway.errors import StripeRefused, StripeUnavailable
from services.gateway.payment_methods.domain import PayerMethods
from services.gateway.payment_methods.store import MethodStore
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.outcomes import MISSING
from services.shared.codec import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteCustomerParams(Params):
    """Who is deleted."""

    customer_id: str


class DeleteCustomer(Operation[DeleteCustomerParams, PayerMethods]):
    """Deletes a customer. Whoever is not there any more is deleted: Stripe keeps no key of this call."""

    name = "customer.delete"
    params_type = DeleteCustomerParams
    retry_until_known = True

    def __init__(self, provider: Provider, payers: MethodStore) -> None:
        super().__init__(payers)
        self._provider = provider

    async def prepare(self, payer: PayerMethods, call: Call[DeleteCustomerParams]) -> DeleteCustomerParams:
        """Nothing forbids it."""
        return call.params

    async def send(self, payer: PayerMethods, call: Call[DeleteCustomerParams], *, is_repeat: bool) -> Json:
        """Delete the customer, unless a try before has done so."""
        customer_id = call.params.customer_id
        if is_repeat and await self._provider.customers.is_gone(customer_id):
            return {}
        try:
            await self._provider.customers.delete(customer_id, key=call.key)
        except StripeRefused as refusal:
            if refusal.metadata["code"] != MISSING:
                raise
        return {}

    async def look_up(self, payer: PayerMethods, call: Call[DeleteCustomerParams]) -> Json | None:
        """Read the customer: it is gone, or the call had no effect."""
        return {} if await self._provider.customers.is_gone(call.params.customer_id) else None

    async def look_again(self, payer: PayerMethods, call: Call[DeleteCustomerParams], refusal: StripeRefused) -> Json:
        """Ask again, for as long as Stripe refuses: an erasure that has begun is not taken back."""
        if await self._provider.customers.is_gone(call.params.customer_id):
            return {}
        raise StripeUnavailable from refusal

    def record(self, payer: PayerMethods, call: Call[DeleteCustomerParams], answer: Json) -> Mapping[str, str]:
        """Its methods went with it: they are forgotten as those of a customer that is not the payer's any more."""
        return {"customer_id": call.params.customer_id}

"""From what is asked of an intent to the intent: the seller's account, the payer's customer, the call.

Stripe may refuse what was right before: a customer that somebody deleted, an account that its seller closed to us, a
detail that it does not take. Such a call had no effect and is withdrawn; what was refused is put right, and the same
request makes the call anew. Whoever dies in between leaves no call, or one with its row: the repeat goes on from there.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.errors import RequestIdReused
from services.gateway.call_log.engine import CallResult, Calls
from services.gateway.customers.operations import Customers
from services.gateway.domain import Amendable, SellerNotFound, SellerNotPayable, StripeKeySpent
from services.gateway.intents import operations
from services.gateway.mirror.store import Store
from services.gateway.sellers.operations import Sellers

TRIES_MAX: Final = 4
"""Of one request: the customer, the description, the account, and once more for what happened meanwhile."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller asks of an intent."""

    tenant_id: str
    request_id: uuid.UUID
    request_hash: bytes
    payment_id: str
    attempt: int
    payer_id: str
    email: str
    name: str
    locale: str
    seller_id: str
    amount_minor: int
    currency_code: str
    application_fee_minor: int
    description: str
    capture_manually: bool
    send_before: dict[str, Any]
    """When it is too late to ask Stripe for it, as a parameter of the call; empty if it never is."""


class Creation:
    """Creates intents."""

    def __init__(
        self, store: Store, calls: Calls, customers: Customers, sellers: Sellers, *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._calls = calls
        self._customers = customers
        self._sellers = sellers
        self._now = now

    async def create(self, asked: Asked) -> CallResult:
        """Create the intent, or return what came of that when it was asked before."""
        params = await self._params(asked)
        refused = None
        for _ in range(TRIES_MAX):
            try:
                return await self._calls.make(
                    operations.CreateIntent.name,
                    tenant_id=asked.tenant_id,
                    payment_id=asked.payment_id,
                    request_id=asked.request_id,
                    request_hash=asked.request_hash,
                    params=params,
                )
            except Amendable as refusal:
                refused = refusal
                params |= await self._amended(asked, refusal)
        if refused is not None and refused.is_of_account:  # while it looks as if it could be paid
            raise SellerNotPayable(field="seller_id", missing=refused.code) from refused
        raise StripeKeySpent from refused

    async def _params(self, asked: Asked) -> dict[str, Any]:
        """Return what the call is made of, with a payment that is known."""
        try:
            account = await self._sellers.payable(asked.tenant_id, asked.seller_id)
        except (SellerNotFound, SellerNotPayable):
            known = await self._store.call(asked.tenant_id, operations.CreateIntent.name, asked.request_id)
            if known is None or known.state == "WITHDRAWN":  # nothing came of it
                raise
            if known.payment_id != asked.payment_id:
                raise RequestIdReused(field="request_id") from None
            return dict(known.params)  # what was asked while the seller could be paid is answered all the same
        customer_id = await self._customer(asked)
        await self._store.begin(
            asked.tenant_id,
            asked.payment_id,
            payer_id=asked.payer_id,
            seller_id=asked.seller_id,
            currency_code=asked.currency_code,
            now=self._now(),
        )
        return {
            "attempt": asked.attempt,
            "amount_minor": asked.amount_minor,
            "currency_code": asked.currency_code,
            "application_fee_minor": asked.application_fee_minor,
            "customer_id": customer_id,
            "account_id": account.stripe_account_id,
            "description": asked.description,
            "capture_manually": asked.capture_manually,
            **asked.send_before,
        }

    async def _amended(self, asked: Asked, refused: Amendable) -> dict[str, Any]:
        """Put right what Stripe refused, and return what is asked for instead. Raises SellerNotPayable."""
        _logger.warning(
            "the intent of %s is requested with a new key: Stripe refused its %s: %s",
            asked.payment_id,
            refused.param,
            refused.code,
        )
        if refused.is_of_account:
            account = await self._sellers.payable_now(asked.tenant_id, asked.seller_id)
            return {"account_id": account.stripe_account_id}
        if refused.param in operations.OPTIONAL:
            return {refused.param: ""}
        # What was refused need not be what we asked for: the call may have been another copy's of this request.
        await self._customers.forget(asked.tenant_id, asked.payer_id, refused.params["customer_id"])
        return {"customer_id": await self._customer(asked)}

    async def _customer(self, asked: Asked) -> str:
        return await self._customers.ensure(
            asked.tenant_id, asked.payer_id, email=asked.email, name=asked.name, locale=asked.locale
        )

"""From what is asked of an attempt to its intent or page: the seller's account, the payer's customer, the call.

Stripe may refuse what was right before: a customer that was deleted there, an account that its seller closed to us, a
detail that it does not take. Such a call had no effect and is discarded; what was refused is put right, and the same
request makes the call anew. Whoever dies in between leaves no call, or one with its row: the repeat goes on from there.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from services.errors import RequestIdReused
from services.gateway.call_log.call import CallState
from services.gateway.call_log.engine import Calls
from services.gateway.call_log.operation import CallResult, Operation
from services.gateway.call_log.store import CallStore
from services.gateway.customers.operations import Customers
from services.gateway.errors import SellerNotFound, SellerNotPayable, StripeKeySpent
from services.gateway.intents.create import SUFFIX, AmendableIntent, CreateIntent, CreateIntentParams
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.sellers.domain import SellerAccount
from services.gateway.sellers.operations import Sellers
from services.gateway.settlement.domain import SettlementTerms
from services.shared import codec
from services.shared.split import Split

TRIES_MAX: Final = 5
"""Of one request: the customer, the description, the suffix, the account, and once more for what happened meanwhile."""

C = TypeVar("C", bound=CreateIntentParams)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRequest:
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
    """Whom Stripe transfers to with the charge; empty where we transfer by calls of our own, if to anybody."""
    split: Split | None
    settlement: SettlementTerms
    amount_minor: int
    currency_code: str
    application_fee_minor: int
    description: str
    capture_manually: bool
    setup_only: bool
    keep_method: bool
    consent_actor_id: str
    """Who agreed that the method is kept; empty where none is."""
    metadata: Mapping[str, str]
    """The caller's, as it is put on Stripe's object."""
    send_before_time: datetime | None
    """When it is too late to ask Stripe for it; None if it never is."""


class Creation:
    """Creates what an attempt is at Stripe."""

    def __init__(
        self,
        call_store: CallStore,
        calls: Calls,
        customers: Customers,
        sellers: Sellers,
    ) -> None:
        self._call_store = call_store
        self._calls = calls
        self._customers = customers
        self._sellers = sellers

    async def create(self, asked: IntentRequest) -> CallResult[MirroredPayment]:
        """Create the intent, or return what came of that when it was asked before."""
        return await self.make(CreateIntent, asked, params_of=lambda params: params)

    async def make(
        self,
        kind: type[Operation[C, MirroredPayment]],
        asked: IntentRequest,
        *,
        params_of: Callable[[CreateIntentParams], C],
    ) -> CallResult[MirroredPayment]:
        """Make the call of a kind that begins an attempt; `params_of` adds what is of that kind alone."""
        params = await self._params(kind, asked, params_of)
        refused = None
        for _ in range(TRIES_MAX):
            try:
                result = await self._calls.make(
                    kind,
                    tenant_id=asked.tenant_id,
                    subject_id=asked.payment_id,
                    request_id=asked.request_id,
                    request_hash=asked.request_hash,
                    params=params,
                    new_subject=MirroredPayment.new(
                        asked.tenant_id,
                        asked.payment_id,
                        payer_id=asked.payer_id,
                        seller_id=asked.seller_id,
                        currency_code=asked.currency_code,
                    ),
                )
            except AmendableIntent as refusal:
                refused = refusal
                params = await self._amended(asked, params, refusal)
            else:
                if result.live is None and (asked.email or asked.name or asked.locale):
                    # It was made before, maybe by who knew no more than the payer's id, and with another customer.
                    await self._customers.named_again(
                        asked.tenant_id, asked.payer_id, email=asked.email, name=asked.name, locale=asked.locale
                    )
                return result
        if refused is not None and refused.is_of_account:  # while it looks as if it could be paid
            raise SellerNotPayable(field="seller_id", seller_id=asked.seller_id, missing=refused.code) from refused
        raise StripeKeySpent from refused

    async def _params(
        self,
        kind: type[Operation[C, MirroredPayment]],
        asked: IntentRequest,
        params_of: Callable[[CreateIntentParams], C],
    ) -> C:
        """Return what the call is made of, with a payment that is known."""
        try:
            account = await self._destination(asked)
        except (SellerNotFound, SellerNotPayable):
            known = await self._call_store.call(asked.tenant_id, kind.name, asked.request_id)
            if known is None or known.state is CallState.DISCARDED:  # nothing came of it
                raise
            if known.subject_id != asked.payment_id:
                raise RequestIdReused(field="request_id") from None
            # What was asked while the seller could be paid is answered all the same.
            return codec.from_json(kind.params_type, known.params)
        customer_id = await self._customer(asked)
        return params_of(
            CreateIntentParams(
                attempt=asked.attempt,
                amount_minor=asked.amount_minor,
                currency_code=asked.currency_code,
                application_fee_minor=asked.application_fee_minor,
                customer_id=customer_id,
                account_id="" if account is None else account.stripe_account_id,
                statement_descriptor_suffix="" if account is None else account.statement_descriptor_suffix,
                description=asked.description,
                capture_manually=asked.capture_manually,
                setup_only=asked.setup_only,
                keep_method=asked.keep_method,
                consent_actor_id=asked.consent_actor_id,
                seller_id=asked.seller_id,
                split=asked.split,
                settlement=asked.settlement,
                metadata=asked.metadata or None,
                send_before_time=asked.send_before_time,
            )
        )

    async def _destination(self, asked: IntentRequest) -> SellerAccount | None:
        """Return the account that Stripe transfers to with the charge; None where each seller gets its own transfer.

        Raises SellerNotFound or SellerNotPayable for any seller of the charge.
        """
        if asked.seller_id:
            return await self._sellers.payable(asked.tenant_id, asked.seller_id)
        for seller_id in asked.split.seller_ids if asked.split is not None else ():
            await self._sellers.payable(asked.tenant_id, seller_id)
        return None

    async def _amended(self, asked: IntentRequest, params: C, refused: AmendableIntent) -> C:
        """Put right what Stripe refused, and return what is asked for instead. Raises SellerNotPayable."""
        _logger.warning(
            "the attempt of %s is requested with a new key: Stripe refused its %s: %s",
            asked.payment_id,
            refused.param,
            refused.code,
        )
        if refused.is_of_account:
            account = await self._sellers.payable_now(asked.tenant_id, asked.seller_id)
            return replace(params, account_id=account.stripe_account_id)
        if refused.detail == SUFFIX:
            return replace(params, statement_descriptor_suffix="")
        if refused.detail:
            return replace(params, description="")
        # What was refused need not be what we asked for: the call may have been another copy's of this request.
        await self._customers.forget(asked.tenant_id, asked.payer_id, refused.customer_id)
        return replace(params, customer_id=await self._customer(asked))

    async def _customer(self, asked: IntentRequest) -> str:
        return await self._customers.ensure(
            asked.tenant_id, asked.payer_id, email=asked.email, name=asked.name, locale=asked.locale
        )

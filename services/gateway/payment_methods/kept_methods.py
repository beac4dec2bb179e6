"""What callers ask of a payer's methods, and what Stripe says of them without a call of ours.

The list is answered from the mirror. Stripe is asked for it when it was never read, when a payment kept a method that
was not seen yet, and after a day without a reading; an event has the method read that it is about.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.errors import Aborted, ResourceExhausted, Unavailable
from services.gateway.call_log.engine import WAIT_MAX_S, Calls
from services.gateway.customers.operations import Customers
from services.gateway.errors import PaymentMethodNotFound, StripeKeySpent, StripeUnavailable
from services.gateway.payment_methods.domain import KeptMethod, MethodState, PayerMethods
from services.gateway.payment_methods.operations import (
    AttachMethod,
    AttachMethodParams,
    CustomerGone,
    DetachMethod,
    DetachMethodParams,
    SetDefaultMethod,
    SetDefaultMethodParams,
)
from services.gateway.payment_methods.store import MethodStore
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import method_facts, reference
from services.runtime import crash_points
from services.runtime.database.lease import patience
from services.shared.codec import Json

TRIES_MAX: Final = 3
"""Of one attachment: the customer, the one made instead, and once more for what happened meanwhile."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRequest:
    """Which method of whose is asked for, by which request."""

    tenant_id: str
    request_id: uuid.UUID
    request_hash: bytes
    payer_id: str
    payment_method_id: str


class KeptMethods:
    """The methods of payers."""

    def __init__(
        self,
        store: MethodStore,
        calls: Calls,
        customers: Customers,
        provider: Provider,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._calls = calls
        self._customers = customers
        self._provider = provider
        self._now = now

    async def of(self, tenant_id: str, payer_id: str) -> PayerMethods | None:
        """Return a payer's methods; None of one who is not known. While Stripe is away they are as last read."""
        payer = await self._store.read(tenant_id, payer_id)
        if payer is None or not payer.is_to_be_read(self._now()):
            return payer
        try:
            await self.read_again(tenant_id, payer_id)
            return await self._store.read(tenant_id, payer_id)  # with the consents of those that a payment kept
        except (Unavailable, ResourceExhausted, Aborted) as silence:
            if payer.read_time is None:
                raise
            _logger.info("the methods of a payer are shown as last read: %s", silence.reason)
            return payer

    async def attach(
        self, asked: MethodRequest, *, email: str, name: str, locale: str, consent_actor_id: str
    ) -> tuple[PayerMethods, KeptMethod]:
        """Keep a method, or return what came of that when it was asked before."""
        for _ in range(TRIES_MAX):
            customer_id = await self._customers.ensure(
                asked.tenant_id, asked.payer_id, email=email, name=name, locale=locale
            )
            await self.of(asked.tenant_id, asked.payer_id)  # or the first one seen here would become the default
            try:
                result = await self._calls.make(
                    AttachMethod,
                    tenant_id=asked.tenant_id,
                    subject_id=asked.payer_id,
                    request_id=asked.request_id,
                    request_hash=asked.request_hash,
                    params=AttachMethodParams(
                        payment_method_id=asked.payment_method_id,
                        customer_id=customer_id,
                        consent_actor_id=consent_actor_id,
                    ),
                )
            except CustomerGone as gone:
                await self._customers.forget(asked.tenant_id, asked.payer_id, gone.customer_id)
                continue
            if not result.answer:
                raise StripeUnavailable
            return result.subject, _kept(result.subject, result.answer["payment_method_id"])
        raise StripeKeySpent

    async def detach(self, asked: MethodRequest) -> None:
        """Forget a method. One that is not kept is forgotten."""
        if not await self._is_known(asked):
            return
        result = await self._calls.make(
            DetachMethod,
            tenant_id=asked.tenant_id,
            subject_id=asked.payer_id,
            request_id=asked.request_id,
            request_hash=asked.request_hash,
            params=DetachMethodParams(payment_method_id=asked.payment_method_id),
        )
        if not result.answer:
            raise StripeUnavailable

    async def set_default(self, asked: MethodRequest) -> tuple[PayerMethods, KeptMethod]:
        """Make a kept method the default."""
        if not await self._is_known(asked):
            raise PaymentMethodNotFound(field="payment_method_id")
        result = await self._calls.make(
            SetDefaultMethod,
            tenant_id=asked.tenant_id,
            subject_id=asked.payer_id,
            request_id=asked.request_id,
            request_hash=asked.request_hash,
            params=SetDefaultMethodParams(payment_method_id=asked.payment_method_id),
        )
        return result.subject, _kept(result.subject, asked.payment_method_id)

    async def read_again(self, tenant_id: str, payer_id: str) -> None:
        """Mirror all methods of a payer as they are at Stripe now, unless somebody has done so meanwhile."""
        payer = await self._acquire(tenant_id, payer_id)
        async with self._store.leases.holding(payer):
            if payer.is_to_be_read(self._now()):
                listing = self._provider.payment_methods.of_customer(payer.customer_id)
                shown = await crash_points.call("method.read.stripe", listing)
                if shown is None:
                    await self._customers.forget(tenant_id, payer_id, payer.customer_id)
                payer.take_all(map(method_facts, shown or []), now=self._now())
            await self._save(payer)

    async def read_one(self, tenant_id: str, payer_id: str, method_id: str) -> None:
        """Mirror one method as it is at Stripe now. Raises PaymentMethodNotFound where it is another payer's."""
        payer = await self._acquire(tenant_id, payer_id)
        async with self._store.leases.holding(payer):
            shown = await crash_points.call("method.read.stripe", self._provider.payment_methods.retrieve(method_id))
            facts = method_facts(shown) if shown is not None else None
            is_strangers = facts is not None and facts.customer_id not in ("", payer.customer_id)
            if facts is not None and facts.customer_id and facts.customer_id == payer.customer_id:
                payer.keep(facts, now=self._now())
            else:
                payer.detach([method_id], now=self._now())
            await self._save(payer)
        if is_strangers:
            raise PaymentMethodNotFound(field="payment_method_id")

    async def observe(self, tenant_id: str, method_id: str, shown: Sequence[Json], *, is_readable: bool) -> bool:
        """Take what events show of a method for a reason to read it; False if it is no payer's of ours.

        Nothing is read where the mirror shows all of it. `is_readable` says that the objects are as we know them.
        """
        customer_id = next((named for one in shown if (named := reference(one, "customer"))), "")
        payer_id = await self._store.payer_of(tenant_id, method_id=method_id, customer_id=customer_id)
        if payer_id is None:
            return False
        payer = await self._store.require(tenant_id, payer_id)
        if payer.is_to_be_read(self._now()):
            await self.read_again(tenant_id, payer_id)  # or the first one seen here would become the default
        elif not is_readable or not all(payer.shows(method_facts(one)) for one in shown):
            with suppress(PaymentMethodNotFound):  # another's by now, and gone from this payer's
                await self.read_one(tenant_id, payer_id, method_id)
        await self._warn(tenant_id, method_id)
        return True

    async def _warn(self, tenant_id: str, method_id: str) -> None:
        """Say which payments will not be charged as planned, since somebody has removed their method at Stripe."""
        owner = await self._store.owner(tenant_id, method_id)
        if owner is not None and owner[1] is MethodState.DETACHED:
            needing = await self._store.needing(tenant_id, [method_id])
            if needing:
                _logger.warning("a method that payments need is gone at Stripe: %s", ", ".join(needing))

    async def lose_customer(self, tenant_id: str, customer_id: str) -> bool:
        """Forget a customer that was deleted at Stripe, and its methods; False if it is no payer's of ours.

        The payer's next payment or method makes another.
        """
        payer_id = await self._store.payer_of(tenant_id, method_id="", customer_id=customer_id)
        if payer_id is None:
            return False
        await self._customers.forget(tenant_id, payer_id, customer_id)
        await self.forget_strangers(tenant_id, payer_id)
        return True

    async def forget_strangers(self, tenant_id: str, payer_id: str) -> None:
        """Forget the methods of customers that are not the payer's any more."""
        payer = await self._acquire(tenant_id, payer_id)
        async with self._store.leases.holding(payer):
            await self._save(payer)

    async def _is_known(self, asked: MethodRequest) -> bool:
        """Whether the payer keeps a method, or kept it. Stripe is asked about what is not known here.

        Raises PaymentMethodNotFound for one of another payer's.
        """
        owner = await self._store.owner(asked.tenant_id, asked.payment_method_id)
        if owner is None:
            if await self._store.read(asked.tenant_id, asked.payer_id) is None:
                return False
            await self.read_one(asked.tenant_id, asked.payer_id, asked.payment_method_id)
            owner = await self._store.owner(asked.tenant_id, asked.payment_method_id)
        if owner is not None and owner[0] != asked.payer_id:
            raise PaymentMethodNotFound(field="payment_method_id")
        return owner is not None

    async def _acquire(self, tenant_id: str, payer_id: str) -> PayerMethods:
        async def check() -> None:
            await self._store.require(tenant_id, payer_id)

        return await self._store.leases.acquire(
            (tenant_id, payer_id), until=patience(wait_max_s=WAIT_MAX_S), check=check
        )

    async def _save(self, payer: PayerMethods) -> None:
        await self._store.save(payer, point="method.observe", now=self._now(), release=True)


def _kept(payer: PayerMethods, method_id: str) -> KeptMethod:
    """Return a method that a call was about. Raises PaymentMethodNotFound where it was taken away since."""
    kept = payer.find(method_id)
    if kept is None:
        raise PaymentMethodNotFound(field="payment_method_id")
    return kept

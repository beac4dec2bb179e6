"""What callers ask of setup intents, and what Stripe says of them without a call of ours."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.gateway.call_log.engine import WAIT_MAX_S, Calls
from services.gateway.customers.operations import Customers
from services.gateway.errors import SetupIntentNotFound, StripeKeySpent, StripeUnavailable, WrongIntentState
from services.gateway.payment_methods.domain import SetupIntent
from services.gateway.payment_methods.kept_methods import KeptMethods
from services.gateway.payment_methods.operations import CustomerGone
from services.gateway.payment_methods.setups import (
    OVER,
    CancelSetup,
    CancelSetupParams,
    CreateSetup,
    CreateSetupParams,
    take,
)
from services.gateway.payment_methods.store import MethodStore
from services.gateway.stripe_api.client import Provider
from services.runtime import crash_points
from services.runtime.database.lease import patience
from services.shared.codec import Json
from services.shared.states import IntentState

TRIES_MAX: Final = 3
"""Of one creation: the customer, the one made instead, and once more for what happened meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRequest:
    """What a caller asks of a setup intent."""

    tenant_id: str
    request_id: uuid.UUID
    request_hash: bytes
    payer_id: str
    email: str
    name: str
    locale: str
    payment_method_id: str
    confirmation_token_id: str
    return_url: str
    consent_actor_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A setup intent, and Stripe's own of just now where that was read."""

    payer_id: str
    setup: SetupIntent
    live: Json | None = None


class SetupIntents:
    """Setup intents that keep a method without a payment."""

    def __init__(
        self,
        store: MethodStore,
        calls: Calls,
        customers: Customers,
        kept: KeptMethods,
        provider: Provider,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._calls = calls
        self._customers = customers
        self._kept = kept
        self._provider = provider
        self._now = now

    async def create(self, asked: SetupRequest) -> Seen:
        """Create one, or return what came of that when it was asked before; with what a browser needs."""
        for _ in range(TRIES_MAX):
            customer_id = await self._customers.ensure(
                asked.tenant_id, asked.payer_id, email=asked.email, name=asked.name, locale=asked.locale
            )
            await self._kept.of(asked.tenant_id, asked.payer_id)  # or what it keeps would be the first, and the default
            params = CreateSetupParams(
                customer_id=customer_id,
                consent_actor_id=asked.consent_actor_id,
                payment_method_id=asked.payment_method_id,
                confirmation_token_id=asked.confirmation_token_id,
                return_url=asked.return_url,
            )
            try:
                result = await self._calls.make(
                    CreateSetup,
                    tenant_id=asked.tenant_id,
                    subject_id=asked.payer_id,
                    request_id=asked.request_id,
                    request_hash=asked.request_hash,
                    params=params,
                )
            except CustomerGone as gone:
                await self._customers.forget(asked.tenant_id, asked.payer_id, gone.customer_id)
                continue
            if not result.answer:
                raise StripeUnavailable
            setup_intent_id = result.answer["setup_intent_id"]
            live = result.live or await self._provider.intents.retrieve_attempt(setup_intent_id)
            _, setup = await self._require(asked.tenant_id, setup_intent_id)
            return Seen(payer_id=asked.payer_id, setup=setup, live=live)
        raise StripeKeySpent

    async def get(self, tenant_id: str, setup_intent_id: str, *, own_payer: str | None, with_secret: bool) -> Seen:
        """Return one as last seen; with its secret it is read at Stripe, unless it is over."""
        payer_id, setup = await self._require(tenant_id, setup_intent_id, own_payer=own_payer)
        if not with_secret or setup.state in OVER:
            return Seen(payer_id=payer_id, setup=setup)
        setup, live = await self._read(tenant_id, payer_id, setup)
        return Seen(payer_id=payer_id, setup=setup, live=live)

    async def cancel(
        self,
        tenant_id: str,
        setup_intent_id: str,
        *,
        own_payer: str | None,
        request_id: uuid.UUID,
        request_hash: bytes,
    ) -> Seen:
        """Cancel one."""
        payer_id, _ = await self._require(tenant_id, setup_intent_id, own_payer=own_payer)
        result = await self._calls.make(
            CancelSetup,
            tenant_id=tenant_id,
            subject_id=payer_id,
            request_id=request_id,
            request_hash=request_hash,
            params=CancelSetupParams(setup_intent_id=setup_intent_id),
        )
        if not result.answer:
            raise StripeUnavailable
        if result.answer["state"] != IntentState.CANCELED:
            raise WrongIntentState(intent_state=result.answer["state"])
        _, setup = await self._require(tenant_id, setup_intent_id)
        return Seen(payer_id=payer_id, setup=setup)

    async def observe(self, tenant_id: str, setup_intent_id: str) -> bool:
        """Mirror one as it is at Stripe now; False if it is none of ours, or a payment's."""
        found = await self._store.setup(tenant_id, setup_intent_id)
        if found is None:
            return False
        payer_id, setup = found
        if setup.state not in OVER:
            await self._read(tenant_id, payer_id, setup)
        return True

    async def _read(self, tenant_id: str, payer_id: str, known: SetupIntent) -> tuple[SetupIntent, Json]:
        payer = await self._store.leases.acquire((tenant_id, payer_id), until=patience(wait_max_s=WAIT_MAX_S))
        async with self._store.leases.holding(payer):
            reading = self._provider.intents.retrieve_attempt(known.setup_intent_id)
            shown = await crash_points.call("method.read_setup.stripe", reading)
            setup = take(payer, shown, consent=known.consent, now=self._now())
            await self._store.save(payer, point="method.observe", now=self._now(), release=True)
        return setup, shown

    async def _require(
        self, tenant_id: str, setup_intent_id: str, *, own_payer: str | None = None
    ) -> tuple[str, SetupIntent]:
        """Return whose one is, and how it was last seen. Raises SetupIntentNotFound where it is not `own_payer`'s."""
        found = await self._store.setup(tenant_id, setup_intent_id)
        if found is None or own_payer not in (None, found[0]):
            raise SetupIntentNotFound(field="setup_intent_id")
        return found

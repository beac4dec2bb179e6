"""PaymentMethodService: reads a request, has the call made, answers with the payer's methods as they are now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from grpc import aio

from batzen.gateway.v1 import payment_methods_pb2
from batzen.gateway.v1.payment_methods_pb2_grpc import PaymentMethodServiceServicer
from services.gateway.errors import PaymentMethodNotFound
from services.gateway.payment_methods.kept_methods import KeptMethods
from services.gateway.payment_methods.setup_intents import SetupIntents
from services.gateway.servicers.tenants import served_tenant
from services.gateway.stripe_api import stripe_ids
from services.gateway.wire import payment_methods as wire
from services.runtime.database.idempotency import request_hash
from services.shared import fields

Context = aio.ServicerContext[Any, Any]


class PaymentMethodServicer(PaymentMethodServiceServicer):
    """The methods that payers keep, and the setup intents that keep them."""

    def __init__(self, *, kept: KeptMethods, setups: SetupIntents, now: Callable[[], datetime], tenant_id: str) -> None:
        self._kept = kept
        self._setups = setups
        self._now = now
        self._tenant_id = tenant_id

    async def CreateSetupIntent(
        self, request: payment_methods_pb2.CreateSetupIntentRequest, context: Context
    ) -> payment_methods_pb2.CreateSetupIntentResponse:
        """Create a setup intent."""
        person = wire.person_of(request.payer)
        seen = await self._setups.create(
            wire.setup_request(request, tenant_id=served_tenant(self._tenant_id), person=person)
        )
        return payment_methods_pb2.CreateSetupIntentResponse(
            setup_intent=wire.setup_to_proto(seen, now=self._now()),
            client_secret=wire.secret_of(seen),
            next_action=wire.next_action_of(seen),
        )

    async def GetSetupIntent(
        self, request: payment_methods_pb2.GetSetupIntentRequest, context: Context
    ) -> payment_methods_pb2.GetSetupIntentResponse:
        """Return a setup intent."""
        seen = await self._setups.get(
            served_tenant(self._tenant_id),
            stripe_ids.read(request.setup_intent_id, stripe_ids.SETUP_INTENT, field="setup_intent_id"),
            own_payer=wire.own_payer(),
            with_secret=request.with_secret,
        )
        return payment_methods_pb2.GetSetupIntentResponse(
            setup_intent=wire.setup_to_proto(seen, now=self._now()),
            client_secret=wire.secret_of(seen),
            next_action=wire.next_action_of(seen),
        )

    async def CancelSetupIntent(
        self, request: payment_methods_pb2.CancelSetupIntentRequest, context: Context
    ) -> payment_methods_pb2.CancelSetupIntentResponse:
        """Cancel a setup intent."""
        seen = await self._setups.cancel(
            served_tenant(self._tenant_id),
            stripe_ids.read(request.setup_intent_id, stripe_ids.SETUP_INTENT, field="setup_intent_id"),
            own_payer=wire.own_payer(),
            request_id=fields.request_id(request.request_id),
            request_hash=request_hash(request),
        )
        return payment_methods_pb2.CancelSetupIntentResponse(setup_intent=wire.setup_to_proto(seen, now=self._now()))

    async def ListPaymentMethods(
        self, request: payment_methods_pb2.ListPaymentMethodsRequest, context: Context
    ) -> payment_methods_pb2.ListPaymentMethodsResponse:
        """Return what a payer keeps."""
        payer_id = wire.payer_id_of(request.payer_id)
        tenant_id = served_tenant(self._tenant_id)
        payer = None if wire.is_anothers(payer_id) else await self._kept.of(tenant_id, payer_id)
        if payer is None:
            return payment_methods_pb2.ListPaymentMethodsResponse()
        return payment_methods_pb2.ListPaymentMethodsResponse(
            payment_methods=[wire.method_to_proto(one, payer=payer, now=self._now()) for one in payer.listed()]
        )

    async def AttachPaymentMethod(
        self, request: payment_methods_pb2.AttachPaymentMethodRequest, context: Context
    ) -> payment_methods_pb2.AttachPaymentMethodResponse:
        """Keep a method."""
        person = wire.person_of(request.payer)
        payer, kept = await self._kept.attach(
            wire.method_request(request, tenant_id=served_tenant(self._tenant_id), payer_id=person.payer_id),
            email=person.email,
            name=person.name,
            locale=person.locale,
            consent_actor_id=wire.consent_actor(request.consent_actor_id, payer_id=person.payer_id),
        )
        return payment_methods_pb2.AttachPaymentMethodResponse(
            payment_method=wire.method_to_proto(kept, payer=payer, now=self._now())
        )

    async def DetachPaymentMethod(
        self, request: payment_methods_pb2.DetachPaymentMethodRequest, context: Context
    ) -> payment_methods_pb2.DetachPaymentMethodResponse:
        """Forget a method."""
        payer_id = self._own(request.payer_id)
        await self._kept.detach(
            wire.method_request(request, tenant_id=served_tenant(self._tenant_id), payer_id=payer_id)
        )
        return payment_methods_pb2.DetachPaymentMethodResponse()

    async def SetDefaultPaymentMethod(
        self, request: payment_methods_pb2.SetDefaultPaymentMethodRequest, context: Context
    ) -> payment_methods_pb2.SetDefaultPaymentMethodResponse:
        """Make a kept method the default."""
        payer_id = self._own(request.payer_id)
        payer, kept = await self._kept.set_default(
            wire.method_request(request, tenant_id=served_tenant(self._tenant_id), payer_id=payer_id)
        )
        return payment_methods_pb2.SetDefaultPaymentMethodResponse(
            payment_method=wire.method_to_proto(kept, payer=payer, now=self._now())
        )

    def _own(self, named: str) -> str:
        """Return whose method a call is about. Raises PaymentMethodNotFound where the caller may not see it."""
        payer_id = wire.payer_id_of(named)
        if wire.is_anothers(payer_id):
            raise PaymentMethodNotFound(field="payment_method_id")
        return payer_id

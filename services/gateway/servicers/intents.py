"""IntentService: reads a request, makes the call, writes what is true now."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import intents_pb2
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceServicer
from services.errors import FieldMissing
from services.gateway.call_log.engine import Calls
from services.gateway.call_log.operation import CallResult
from services.gateway.checkout.addresses import PageAddresses
from services.gateway.errors import IntentNotFound, StripeUnavailable, WrongIntentState
from services.gateway.intents.cancel import CancelIntent
from services.gateway.intents.capture import CaptureIntent
from services.gateway.intents.confirm import ConfirmIntent
from services.gateway.intents.creation import Creation
from services.gateway.intents.domain import CONFIRMABLE
from services.gateway.mirror.observation import Observation
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.gateway.servicers.tenants import served_tenant
from services.gateway.stripe_api import currencies, stripe_ids
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.intent_objects import redirect_of
from services.gateway.stripe_api.objects import text
from services.gateway.sync.reader import MirrorReader
from services.gateway.wire import requests
from services.gateway.wire.responses import intent_to_proto, money, to_proto
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.runtime.work.shared_readings import KeptReadings, SharedReadings
from services.shared import fields
from services.shared.codec import Json
from services.shared.states import IntentState

SECRETS_KEPT_S: Final = 2.0
"""In memory alone: as long as a page that is loaded again and again may be shown the same."""

Context = aio.ServicerContext[Any, Any]


class IntentServicer(IntentServiceServicer):
    """The RPCs of intents."""

    def __init__(
        self,
        *,
        payments: Store,
        calls: Calls,
        reader: MirrorReader,
        creation: Creation,
        addresses: PageAddresses,
        provider: Provider,
        tenant_id: str,
    ) -> None:
        self._payments = payments
        self._calls = calls
        self._reader = reader
        self._creation = creation
        self._addresses = addresses
        self._provider = provider
        self._tenant_id = tenant_id
        self._readings: SharedReadings[tuple[Observation, Json | None]] = SharedReadings()
        self._secrets: KeptReadings[Json] = KeptReadings(kept_s=SECRETS_KEPT_S)

    async def CreateIntent(
        self, request: intents_pb2.CreateIntentRequest, context: Context
    ) -> intents_pb2.CreateIntentResponse:
        """Create the intent of an attempt."""
        tenant_id = served_tenant(self._tenant_id)
        result = await self._creation.create(requests.intent_request(request, tenant_id=tenant_id))
        if not result.answer:
            raise StripeUnavailable
        intent = await self._intent(result)
        return intents_pb2.CreateIntentResponse(
            observation=to_proto(result.subject.observation), client_secret=text(intent, "client_secret")
        )

    async def ConfirmIntent(
        self, request: intents_pb2.ConfirmIntentRequest, context: Context
    ) -> intents_pb2.ConfirmIntentResponse:
        """Confirm the current attempt's intent."""
        result = await self._calls.make(
            ConfirmIntent,
            params=requests.confirm_params(request),
            tenant_id=served_tenant(self._tenant_id),
            subject_id=fields.identifier(request.payment_id, field="payment_id"),
            request_id=fields.request_id(request.request_id),
            request_hash=request_hash(request, requests.SEND_BEFORE),
        )
        observation = result.subject.observation
        response = intents_pb2.ConfirmIntentResponse(
            observation=to_proto(observation),
            declined_fingerprint=(result.answer or {}).get("declined_fingerprint", ""),
        )
        if observation.intent_state == IntentState.REQUIRES_ACTION and result.answer:
            if result.live is not None:
                self._secrets.forget(_secrets_key(result.answer["intent_id"], result.subject))
            redirect_url = redirect_of(await self._intent(result))
            if redirect_url is not None:
                response.next_action.redirect_url = redirect_url
        return response

    async def CaptureIntent(
        self, request: intents_pb2.CaptureIntentRequest, context: Context
    ) -> intents_pb2.CaptureIntentResponse:
        """Capture what is held."""
        result = await self._calls.make(
            CaptureIntent,
            params=requests.capture_params(request),
            tenant_id=served_tenant(self._tenant_id),
            subject_id=fields.identifier(request.payment_id, field="payment_id"),
            request_id=fields.request_id(request.request_id),
            request_hash=request_hash(request),
        )
        return intents_pb2.CaptureIntentResponse(observation=to_proto(result.subject.observation))

    async def CancelIntent(
        self, request: intents_pb2.CancelIntentRequest, context: Context
    ) -> intents_pb2.CancelIntentResponse:
        """Cancel the current attempt's intent."""
        result = await self._calls.make(
            CancelIntent,
            params=requests.cancel_params(request),
            tenant_id=served_tenant(self._tenant_id),
            subject_id=fields.identifier(request.payment_id, field="payment_id"),
            request_id=fields.request_id(request.request_id),
            request_hash=request_hash(request),
        )
        state = result.answer.get("state", IntentState.CANCELED)
        if state != IntentState.CANCELED:
            raise WrongIntentState(intent_state=state)
        return intents_pb2.CancelIntentResponse(observation=to_proto(result.subject.observation))

    async def SyncIntent(
        self, request: intents_pb2.SyncIntentRequest, context: Context
    ) -> intents_pb2.SyncIntentResponse:
        """Read a payment again at Stripe."""
        payment_id = fields.identifier(request.payment_id, field="payment_id")
        tenant_id = served_tenant(self._tenant_id)
        observation, intent = await self._readings.ask(
            (tenant_id, payment_id), partial(self._reader.read_again, tenant_id, payment_id, origin="sync")
        )
        response = intents_pb2.SyncIntentResponse(observation=to_proto(observation))
        redirect_url = redirect_of(intent) if intent is not None else None
        if redirect_url is not None:
            response.next_action.redirect_url = redirect_url
        return response

    async def GetIntent(self, request: intents_pb2.GetIntentRequest, context: Context) -> intents_pb2.GetIntentResponse:
        """Return what is known of a payment."""
        tenant_id = served_tenant(self._tenant_id) if request.with_secret else call_context.current_tenant()
        payment = await self._payments.require_created(tenant_id, await self._payment_id(request, tenant_id))
        response = intents_pb2.GetIntentResponse(
            observation=to_proto(payment.observation),
            intents=[intent_to_proto(one, payment=payment) for one in payment.intents.values()],
        )
        latest = payment.latest
        if request.with_secret and latest is not None and latest.session_id:  # its intent is its page's alone
            response.checkout_url = await self._addresses.of(payment, latest)
        elif request.with_secret and latest is not None and latest.intent_id and latest.state in CONFIRMABLE:
            intent = await self._secret(latest.intent_id, payment)
            response.client_secret = text(intent, "client_secret")
            redirect_url = redirect_of(intent)
            if redirect_url is not None:
                response.next_action.redirect_url = redirect_url
        return response

    async def GetLimits(self, request: intents_pb2.GetLimitsRequest, context: Context) -> intents_pb2.GetLimitsResponse:
        """Return what Stripe can charge in a currency."""
        if not request.currency_code:
            raise FieldMissing(field="currency_code")
        limits = currencies.limits(request.currency_code)
        return intents_pb2.GetLimitsResponse(
            minimum=money(limits.minimum_minor, request.currency_code),
            maximum=money(limits.maximum_minor, request.currency_code),
            step_minor=limits.step_minor,
        )

    async def _payment_id(self, request: intents_pb2.GetIntentRequest, tenant_id: str) -> str:
        """Return the payment that is asked for, by its own id or by one of Stripe's."""
        if request.payment_id:
            return fields.identifier(request.payment_id, field="payment_id")
        if not request.stripe_id:
            raise FieldMissing(field="payment_id")
        stripe_id = stripe_ids.read(request.stripe_id, stripe_ids.OF_A_PAYMENT, field="stripe_id")
        payment_id = await self._payments.payment_of(tenant_id, stripe_id)
        if payment_id is None:
            raise IntentNotFound
        return payment_id

    async def _intent(self, result: CallResult[MirroredPayment]) -> Json:
        """Return the intent of an answer, secrets included: as it came just now, or read."""
        return result.live or await self._secret(result.answer["intent_id"], result.subject)

    async def _secret(self, intent_id: str, payment: MirroredPayment) -> Json:
        """Read an intent for its secrets alone; nothing is concluded from it, so no lease is needed.

        What was read while the payment stood as it does now may be a moment old: the secret is the same for ever, and
        where the payer has to go changes with the mirror.
        """
        return await self._secrets.ask(
            _secrets_key(intent_id, payment), partial(self._provider.intents.retrieve_attempt, intent_id)
        )


def _secrets_key(intent_id: str, payment: MirroredPayment) -> tuple[object, ...]:
    return payment.tenant_id, intent_id, payment.observation.mirror_version

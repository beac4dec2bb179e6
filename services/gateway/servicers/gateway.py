"""The gRPC face of the gateway: reads a request, makes the call, writes what is true now."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import intents_pb2, refunds_pb2, sellers_pb2
from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceServicer, add_CheckoutServiceServicer_to_server
from batzen.gateway.v1.disputes_pb2_grpc import DisputeServiceServicer, add_DisputeServiceServicer_to_server
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceServicer, add_IntentServiceServicer_to_server
from batzen.gateway.v1.payment_methods_pb2_grpc import (
    PaymentMethodServiceServicer,
    add_PaymentMethodServiceServicer_to_server,
)
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceServicer, add_RefundServiceServicer_to_server
from batzen.gateway.v1.sellers_pb2_grpc import SellerServiceServicer, add_SellerServiceServicer_to_server
from batzen.gateway.v1.transfers_pb2_grpc import TransferServiceServicer, add_TransferServiceServicer_to_server
from services.errors import FieldInvalid, FieldMissing
from services.gateway import domain
from services.gateway.call_log.engine import SEND_BEFORE, CallResult, Calls
from services.gateway.domain import (
    IntentNotFound,
    IntentState,
    Observation,
    RefundNotFound,
    StripeUnavailable,
    TenantNotServed,
)
from services.gateway.intents.creation import Asked, Creation
from services.gateway.mirror.store import MirroredPayment, Store
from services.gateway.sellers.operations import Sellers
from services.gateway.stripe_api import currencies, stripe_ids
from services.gateway.stripe_api.client import Json, Provider, redirect_of
from services.gateway.sync.reader import MirrorReader
from services.gateway.wire import requests
from services.gateway.wire.responses import account_to_proto, intent_to_proto, money, refund_to_proto, to_proto
from services.runtime.rpc import call_context
from services.runtime.work.shared_readings import KeptReadings, SharedReadings

CANCEL_REASONS: Final = {
    intents_pb2.CancelIntentRequest.REASON_UNSPECIFIED: "",
    intents_pb2.CancelIntentRequest.REASON_REQUESTED: "requested_by_customer",
    intents_pb2.CancelIntentRequest.REASON_ABANDONED: "abandoned",
    intents_pb2.CancelIntentRequest.REASON_FRAUDULENT: "fraudulent",
    intents_pb2.CancelIntentRequest.REASON_DUPLICATE: "duplicate",
}
REFUND_REASONS: Final = {
    refunds_pb2.CreateRefundRequest.REASON_UNSPECIFIED: "",
    refunds_pb2.CreateRefundRequest.REASON_REQUESTED_BY_PAYER: "requested_by_customer",
    refunds_pb2.CreateRefundRequest.REASON_DUPLICATE: "duplicate",
    refunds_pb2.CreateRefundRequest.REASON_FRAUDULENT: "fraudulent",
}
METHODS: Final = {
    "payment_method_id": stripe_ids.PAYMENT_METHOD,
    "confirmation_token_id": stripe_ids.CONFIRMATION_TOKEN,
}
REFUND_NAMESPACE: Final = uuid.UUID("0c6e5d1a-7d0e-4a56-9d2f-5a0f3e1f7c44")

SECRETS_KEPT_S: Final = 2.0
"""In memory alone: as long as a page that is loaded again and again may be shown the same."""

Context = aio.ServicerContext[Any, Any]


class GatewayServicer(
    IntentServiceServicer,
    CheckoutServiceServicer,
    RefundServiceServicer,
    PaymentMethodServiceServicer,
    SellerServiceServicer,
    TransferServiceServicer,
    DisputeServiceServicer,
):
    """The services of the gateway. RPCs that are only announced answer UNIMPLEMENTED."""

    def __init__(
        self,
        *,
        store: Store,
        calls: Calls,
        reader: MirrorReader,
        creation: Creation,
        sellers: Sellers,
        provider: Provider,
        tenant_id: str,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._calls = calls
        self._reader = reader
        self._creation = creation
        self._sellers = sellers
        self._provider = provider
        self._tenant_id = tenant_id
        self._now = now
        self._readings: SharedReadings[tuple[Observation, Json | None]] = SharedReadings()
        self._secrets: KeptReadings[Json] = KeptReadings(kept_s=SECRETS_KEPT_S)

    async def CreateIntent(
        self, request: intents_pb2.CreateIntentRequest, context: Context
    ) -> intents_pb2.CreateIntentResponse:
        """Create the intent of an attempt."""
        tenant_id = self._served_tenant()
        request_id = requests.request_id(request.request_id)
        payment_id = requests.identifier(request.payment_id, field="payment_id")
        attempt = requests.attempt(request.attempt)
        payer_id = requests.identifier(request.payer.payer_id, field="payer.payer_id")
        amount = requests.money(request.amount, is_set=request.HasField("amount"), field="amount", least_minor=1)
        seller_id = requests.identifier(request.seller_id, field="seller_id")
        fee = requests.money(
            request.application_fee,
            is_set=request.HasField("application_fee"),
            field="application_fee",
            least_minor=0,
        )
        if fee.currency_code != amount.currency_code:
            raise FieldInvalid(field="application_fee.currency_code", detail="It is not that of the amount.")
        if fee.amount_minor > amount.amount_minor:
            raise FieldInvalid(field="application_fee.amount_minor", detail="It is more than the amount.")
        description = requests.text(
            request.description, field="description", characters_max=requests.DESCRIPTION_CHARACTERS_MAX
        )
        payer = request.payer
        if payer.email:
            requests.email(payer.email, field="payer.email")
        requests.text(payer.name, field="payer.name", characters_max=requests.NAME_CHARACTERS_MAX)
        requests.text(payer.locale, field="payer.locale", characters_max=requests.LOCALE_CHARACTERS_MAX)
        currencies.charge_to_stripe(amount.amount_minor, amount.currency_code)
        currencies.to_stripe(fee.amount_minor, fee.currency_code, field="application_fee")
        done = await self._creation.create(
            Asked(
                tenant_id=tenant_id,
                request_id=request_id,
                # Who goes on after a crash knows the payer's id alone.
                request_hash=requests.request_hash(request, "payer", SEND_BEFORE) + payer_id.encode(),
                payment_id=payment_id,
                attempt=attempt,
                payer_id=payer_id,
                email=payer.email,
                name=payer.name,
                locale=payer.locale,
                seller_id=seller_id,
                amount_minor=amount.amount_minor,
                currency_code=amount.currency_code,
                application_fee_minor=fee.amount_minor,
                description=description,
                capture_manually=request.capture_manually,
                send_before=_send_before(request),
            )
        )
        if not done.answer:
            raise StripeUnavailable
        intent = done.live or await self._secret(str(done.answer["intent_id"]), done.held)
        return intents_pb2.CreateIntentResponse(
            observation=to_proto(done.held.observation), client_secret=str(intent.get("client_secret") or "")
        )

    async def ConfirmIntent(
        self, request: intents_pb2.ConfirmIntentRequest, context: Context
    ) -> intents_pb2.ConfirmIntentResponse:
        """Confirm the current attempt's intent."""
        method = request.WhichOneof("method")
        if method is None:
            raise FieldMissing(field="payment_method_id")
        done = await self._make(
            "intent.confirm",
            request,
            {
                "attempt": requests.attempt(request.attempt),
                method: stripe_ids.read(getattr(request, method), METHODS[method], field=method),
                "return_url": requests.url(request.return_url, field="return_url"),
                **_send_before(request),
            },
        )
        answer = intents_pb2.ConfirmIntentResponse(observation=to_proto(done.held.observation))
        if done.held.observation.intent_state == domain.REQUIRES_ACTION and done.answer:
            if done.live:
                self._secrets.forget(_secrets_key(str(done.answer["intent_id"]), done.held))
            redirect_url = redirect_of(done.live or await self._secret(str(done.answer["intent_id"]), done.held))
            if redirect_url is not None:
                answer.next_action.redirect_url = redirect_url
        return answer

    async def CancelIntent(
        self, request: intents_pb2.CancelIntentRequest, context: Context
    ) -> intents_pb2.CancelIntentResponse:
        """Cancel the current attempt's intent."""
        reason = CANCEL_REASONS.get(request.reason)
        if reason is None:
            raise FieldInvalid(field="reason")
        done = await self._make(
            "intent.cancel", request, {"attempt": requests.attempt(request.attempt), "reason": reason}
        )
        state = done.answer.get("state", domain.CANCELED)
        if state != domain.CANCELED:
            raise IntentState(intent_state=state)
        return intents_pb2.CancelIntentResponse(observation=to_proto(done.held.observation))

    async def CreateRefund(
        self, request: refunds_pb2.CreateRefundRequest, context: Context
    ) -> refunds_pb2.CreateRefundResponse:
        """Give money back."""
        tenant_id = self._served_tenant()
        request_id = requests.request_id(request.request_id)
        payment_id = requests.identifier(request.payment_id, field="payment_id")
        held = await self._known(tenant_id, payment_id)
        amount = requests.money(request.amount, is_set=request.HasField("amount"), field="amount", least_minor=1)
        expected = requests.money(
            request.expected_refundable,
            is_set=request.HasField("expected_refundable"),
            field="expected_refundable",
            least_minor=0,
        )
        for field, value in (("amount", amount), ("expected_refundable", expected)):
            if value.currency_code != held.currency_code:
                raise FieldInvalid(field=f"{field}.currency_code", detail=f"The payment is in {held.currency_code}.")
        currencies.to_stripe(amount.amount_minor, amount.currency_code)
        reason = REFUND_REASONS.get(request.reason)
        if reason is None:
            raise FieldInvalid(field="reason")
        for flag in ("reverse_transfer", "refund_application_fee"):
            if not request.HasField(flag):
                raise FieldMissing(field=flag)
        if request.refund_application_fee and not request.reverse_transfer:
            raise FieldInvalid(field="refund_application_fee", detail="It needs reverse_transfer.")
        refund_id = f"refund_{uuid.uuid5(REFUND_NAMESPACE, f'{tenant_id}/{request_id}').hex}"
        done = await self._make(
            "refund.create",
            request,
            {
                "refund_id": refund_id,
                "amount_minor": amount.amount_minor,
                "expected_refundable_minor": expected.amount_minor,
                "reverse_transfer": request.reverse_transfer,
                "refund_application_fee": request.refund_application_fee,
                "reason": reason,
                "actor_id": requests.identifier(request.actor_id, field="actor_id"),
            },
        )
        return refunds_pb2.CreateRefundResponse(
            refund=refund_to_proto(
                done.held.refunds[refund_id], payment_id=payment_id, currency_code=held.currency_code
            ),
            observation=to_proto(done.held.observation),
        )

    async def SyncIntent(
        self, request: intents_pb2.SyncIntentRequest, context: Context
    ) -> intents_pb2.SyncIntentResponse:
        """Read a payment again at Stripe."""
        payment_id = requests.identifier(request.payment_id, field="payment_id")
        tenant_id = self._served_tenant()
        observation, intent = await self._readings.ask(
            (tenant_id, payment_id), partial(self._reader.read_again, tenant_id, payment_id, origin="sync")
        )
        answer = intents_pb2.SyncIntentResponse(observation=to_proto(observation))
        redirect_url = redirect_of(intent) if intent is not None else None
        if redirect_url is not None:
            answer.next_action.redirect_url = redirect_url
        return answer

    async def GetIntent(self, request: intents_pb2.GetIntentRequest, context: Context) -> intents_pb2.GetIntentResponse:
        """Return what is known of a payment."""
        tenant_id = self._served_tenant() if request.with_secret else call_context.current_tenant()
        payment_id: str | None = request.payment_id
        if not payment_id:
            if not request.stripe_id:
                raise FieldMissing(field="payment_id")
            stripe_id = stripe_ids.read(request.stripe_id, stripe_ids.OF_A_PAYMENT, field="stripe_id")
            payment_id = await self._store.payment_of(tenant_id, stripe_id)
            if payment_id is None:
                raise IntentNotFound
        held = await self._known(tenant_id, requests.identifier(payment_id, field="payment_id"))
        answer = intents_pb2.GetIntentResponse(
            observation=to_proto(held.observation),
            intents=[intent_to_proto(one, currency_code=held.currency_code) for one in held.intents.values()],
        )
        latest = held.latest
        if request.with_secret and latest is not None and latest.intent_id and latest.state in domain.CONFIRMABLE:
            intent = await self._secret(latest.intent_id, held)
            answer.client_secret = str(intent.get("client_secret") or "")
            redirect_url = redirect_of(intent)
            if redirect_url is not None:
                answer.next_action.redirect_url = redirect_url
        return answer

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

    async def GetRefund(self, request: refunds_pb2.GetRefundRequest, context: Context) -> refunds_pb2.GetRefundResponse:
        """Return one refund."""
        tenant_id = call_context.current_tenant()
        refund_id = requests.identifier(request.refund_id, field="refund_id")
        payment_id = await self._store.payment_of_refund(tenant_id, refund_id)
        if payment_id is None:
            raise RefundNotFound
        held = await self._known(tenant_id, payment_id)
        refund = refund_to_proto(held.refunds[refund_id], payment_id=payment_id, currency_code=held.currency_code)
        return refunds_pb2.GetRefundResponse(refund=refund)

    async def ListRefunds(
        self, request: refunds_pb2.ListRefundsRequest, context: Context
    ) -> refunds_pb2.ListRefundsResponse:
        """Return the refunds of a payment."""
        payment_id = requests.identifier(request.payment_id, field="payment_id")
        held = await self._known(call_context.current_tenant(), payment_id)
        return refunds_pb2.ListRefundsResponse(
            refunds=[
                refund_to_proto(one, payment_id=payment_id, currency_code=held.currency_code)
                for one in held.refunds.values()
            ]
        )

    async def PutSellerAccount(
        self, request: sellers_pb2.PutSellerAccountRequest, context: Context
    ) -> sellers_pb2.PutSellerAccountResponse:
        """Create a seller's account, or take one over."""
        request_id = requests.request_id(request.request_id)
        seller_id = requests.identifier(request.seller_id, field="seller_id")
        stripe_account_id = request.stripe_account_id
        if stripe_account_id:
            stripe_ids.read(stripe_account_id, stripe_ids.ACCOUNT, field="stripe_account_id")
        account = await self._sellers.put(
            self._served_tenant(),
            seller_id,
            request_id=request_id,
            request_hash=requests.request_hash(request),
            country_code="" if stripe_account_id else requests.country(request.country_code),
            email="" if stripe_account_id else requests.email(request.email),
            stripe_account_id=stripe_account_id,
        )
        return sellers_pb2.PutSellerAccountResponse(account=account_to_proto(account))

    async def GetSellerAccount(
        self, request: sellers_pb2.GetSellerAccountRequest, context: Context
    ) -> sellers_pb2.GetSellerAccountResponse:
        """Return a seller's account."""
        seller_id = requests.identifier(request.seller_id, field="seller_id")
        account = await self._sellers.get(call_context.current_tenant(), seller_id)
        return sellers_pb2.GetSellerAccountResponse(account=account_to_proto(account))

    def _served_tenant(self) -> str:
        """Return the caller's tenant if we have the key of its account; whatever asks Stripe asks for this one."""
        tenant_id = call_context.current_tenant()
        if tenant_id != self._tenant_id:
            raise TenantNotServed
        return tenant_id

    async def _make(self, operation: str, request: Any, params: dict[str, Any]) -> CallResult:
        return await self._calls.make(
            operation,
            tenant_id=self._served_tenant(),
            payment_id=requests.identifier(request.payment_id, field="payment_id"),
            request_id=requests.request_id(request.request_id),
            request_hash=requests.request_hash(request, SEND_BEFORE),
            params=params,
        )

    async def _known(self, tenant_id: str, payment_id: str) -> MirroredPayment:
        held = await self._store.read(tenant_id, payment_id)
        if held is None or not any(intent.intent_id for intent in held.intents.values()):
            raise IntentNotFound
        return held

    async def _secret(self, intent_id: str, held: MirroredPayment) -> Json:
        """Read an intent for its secrets alone; nothing is concluded from it, so no lease is needed.

        What was read while the payment stood as it does now may be a moment old: the secret is the same for ever, and
        where the payer has to go changes with the mirror.
        """
        return await self._secrets.ask(
            _secrets_key(intent_id, held), partial(self._provider.retrieve_intent, intent_id)
        )


def _secrets_key(intent_id: str, held: MirroredPayment) -> tuple[object, ...]:
    return held.tenant_id, intent_id, held.observation.mirror_version


def _send_before(request: Any) -> dict[str, Any]:
    """Return the parameter that says when a call is too old; nothing where it may be sent at any time."""
    if not request.HasField(SEND_BEFORE):
        return {}
    return {SEND_BEFORE: requests.instant(request.send_before_time, field=SEND_BEFORE).isoformat()}


def add_gateway_services(servicer: GatewayServicer, server: aio.Server) -> None:
    """Have a server answer the calls of all of them."""
    for add in (
        add_IntentServiceServicer_to_server,
        add_CheckoutServiceServicer_to_server,
        add_RefundServiceServicer_to_server,
        add_PaymentMethodServiceServicer_to_server,
        add_SellerServiceServicer_to_server,
        add_TransferServiceServicer_to_server,
        add_DisputeServiceServicer_to_server,
    ):
        add(servicer, server)

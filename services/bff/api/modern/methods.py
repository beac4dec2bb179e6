"""`/v1/payment-methods`: the ways to pay that payers keep."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Query

from batzen.client import Client
from batzen.gateway.v1 import payer_pb2, payment_methods_pb2
from services.bff.api.modern import models, views
from services.bff.api.request_ids import of_key
from services.bff.api.who import NeededKey, Who
from services.bff.callers import Asker
from services.web.failures import Refusal
from services.web.front import Front

MethodId: TypeAlias = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,128}$", description="`pm_…`")]
PayerId: TypeAlias = Annotated[str, Query(max_length=128, description="A payer need not say who they are.")]


class MethodResources:
    """The handlers of kept methods."""

    def __init__(self, front: Front) -> None:
        self._front = front

    @property
    def _calls(self) -> Client:
        return self._front.peers.calls

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        one = "/payment-methods/{payment_method_id}"
        router.add_api_route("/payment-methods", self.list_payment_methods, methods=["GET"])
        router.add_api_route("/payment-methods", self.keep_payment_method, methods=["POST"], status_code=201)
        router.add_api_route(one, self.forget_payment_method, methods=["DELETE"], status_code=204)
        router.add_api_route(f"{one}/default", self.set_default_payment_method, methods=["POST"])

    async def list_payment_methods(self, asker: Who, payer_id: PayerId = "") -> models.KeptMethods:
        """Return the ways to pay that a payer keeps, the default first."""
        request = payment_methods_pb2.ListPaymentMethodsRequest(payer_id=payer_of(asker, payer_id))
        answer = await self._calls.payment_methods.ListPaymentMethods(request, metadata=asker.metadata)
        return models.KeptMethods(payment_methods=[views.kept_method(one) for one in answer.payment_methods])

    async def keep_payment_method(self, asker: Who, body: models.KeepMethod, key: NeededKey) -> models.KeptMethod:
        """Keep a way to pay for later charges, as its payer agreed."""
        request = payment_methods_pb2.AttachPaymentMethodRequest(
            request_id=of_key(asker, "keep", key),
            payer=payer_pb2.Payer(payer_id=payer_of(asker, body.payer_id)),
            payment_method_id=body.payment_method_id,
        )
        answer = await self._calls.payment_methods.AttachPaymentMethod(request, metadata=asker.metadata)
        return views.kept_method(answer.payment_method)

    async def forget_payment_method(
        self, asker: Who, payment_method_id: MethodId, key: NeededKey, payer_id: PayerId = ""
    ) -> None:
        """Forget a way to pay for good; one that is not kept is forgotten already."""
        request = payment_methods_pb2.DetachPaymentMethodRequest(
            request_id=of_key(asker, "forget", key),
            payer_id=payer_of(asker, payer_id),
            payment_method_id=payment_method_id,
        )
        await self._calls.payment_methods.DetachPaymentMethod(request, metadata=asker.metadata)

    async def set_default_payment_method(
        self, asker: Who, payment_method_id: MethodId, body: models.OfPayer, key: NeededKey
    ) -> models.KeptMethod:
        """Make a way to pay the default."""
        request = payment_methods_pb2.SetDefaultPaymentMethodRequest(
            request_id=of_key(asker, "default", key),
            payer_id=payer_of(asker, body.payer_id),
            payment_method_id=payment_method_id,
        )
        answer = await self._calls.payment_methods.SetDefaultPaymentMethod(request, metadata=asker.metadata)
        return views.kept_method(answer.payment_method)


def payer_of(asker: Asker, named: str) -> str:
    """Return whose methods are meant: a payer's own, or those of the payer that a service names."""
    if not asker.is_service:
        if named and named != asker.subject:
            raise Refusal(403, "PERMISSION_DENIED", field="payer_id")
        return asker.subject
    if not named:
        raise Refusal(400, "FIELD_MISSING", field="payer_id")
    return named

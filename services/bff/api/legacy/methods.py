"""`/api/payments/methods`: the ways to pay that payers keep."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Query

from batzen.client import Client, new_request_id
from batzen.gateway.v1 import payer_pb2, payment_methods_pb2
from services.bff.api.legacy import models, views
from services.bff.api.legacy.payments import Answer
from services.bff.api.modern.methods import payer_of
from services.bff.api.request_ids import of_key
from services.bff.api.who import Key, Who
from services.bff.callers import Asker
from services.web.front import Front

UserId: TypeAlias = Annotated[str, Path(alias="userId", min_length=1, max_length=128)]
MethodId: TypeAlias = Annotated[str, Path(alias="methodId", min_length=1, max_length=128)]


class LegacyMethods:
    """The handlers of kept methods. Each may be repeated as it is, so none needs a key."""

    def __init__(self, front: Front) -> None:
        self._front = front

    @property
    def _calls(self) -> Client:
        return self._front.peers.calls

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.add_api_route("/methods/{userId}", self.list_methods, methods=["GET"])
        router.add_api_route("/methods", self.keep_method, methods=["POST"])
        router.add_api_route("/methods/default", self.set_default_method, methods=["POST"])
        router.add_api_route("/methods/{methodId}", self.forget_method, methods=["DELETE"])

    async def list_methods(self, asker: Who, user_id: UserId) -> Answer:
        """Return the ways to pay that a payer keeps; another's are refused."""
        request = payment_methods_pb2.ListPaymentMethodsRequest(payer_id=payer_of(asker, user_id))
        answer = await self._calls.payment_methods.ListPaymentMethods(request, metadata=asker.metadata)
        return {"success": True, "methods": [views.method(one) for one in answer.payment_methods]}

    async def keep_method(self, asker: Who, body: models.Method, key: Key = None) -> Answer:
        """Keep a way to pay for later charges, as its payer agreed."""
        request = payment_methods_pb2.AttachPaymentMethodRequest(
            request_id=_request_id(asker, "keep", key),
            payer=payer_pb2.Payer(payer_id=payer_of(asker, body.user_id)),
            payment_method_id=body.payment_method_id,
        )
        answer = await self._calls.payment_methods.AttachPaymentMethod(request, metadata=asker.metadata)
        return {"success": True, "method": views.method(answer.payment_method)}

    async def set_default_method(self, asker: Who, body: models.Method, key: Key = None) -> Answer:
        """Make a way to pay the default."""
        request = payment_methods_pb2.SetDefaultPaymentMethodRequest(
            request_id=_request_id(asker, "default", key),
            payer_id=payer_of(asker, body.user_id),
            payment_method_id=body.payment_method_id,
        )
        answer = await self._calls.payment_methods.SetDefaultPaymentMethod(request, metadata=asker.metadata)
        return {"success": True, "method": views.method(answer.payment_method)}

    async def forget_method(
        self,
        asker: Who,
        method_id: MethodId,
        user_id: Annotated[str, Query(alias="userId", max_length=128)] = "",
        key: Key = None,
    ) -> Answer:
        """Forget a way to pay for good."""
        request = payment_methods_pb2.DetachPaymentMethodRequest(
            request_id=_request_id(asker, "forget", key),
            payer_id=payer_of(asker, user_id),
            payment_method_id=method_id,
        )
        await self._calls.payment_methods.DetachPaymentMethod(request, metadata=asker.metadata)
        return {"success": True}


def _request_id(asker: Asker, operation: str, key: str | None) -> str:
    return of_key(asker, operation, key) if key else new_request_id()

"""`/v1/hand-overs` and `/v1/payers/{payer_id}/sessions`: a platform's back end lets browsers in, and out."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Annotated, TypeAlias
from urllib.parse import urlencode

from fastapi import APIRouter, Path
from pydantic import Field

from batzen.status.v1.status_pb2 import GetPaymentRequest
from services.bff.api.modern.models import Answer, Body, Identifier
from services.bff.api.who import Service
from services.bff.paths import ENTER
from services.bff.sessions.hand_over import HandOvers
from services.web.failures import Refusal
from services.web.front import Front

PayerId: TypeAlias = Annotated[str, Path(max_length=128)]


class HandOverBody(Body):
    """Whose browser is to be let in, and to which payment."""

    payer_id: Identifier
    payment_id: Identifier
    locale: Annotated[
        str, Field(max_length=35, description="BCP 47; empty: the browser's own.", examples=["de-CH"])
    ] = ""


class HandedOver(Answer):
    """Where the platform sends the payer's browser, once."""

    url: str
    expire_time: datetime


class SessionResources:
    """The handlers; for services alone."""

    def __init__(self, front: Front) -> None:
        self._front = front

    @cached_property
    def _hand_overs(self) -> HandOvers:  # not before it is asked for: the description is made without a front
        return HandOvers(self._front.held, now=self._front.now)

    def add_to(self, router: APIRouter) -> None:
        """Add the routes."""
        router.add_api_route("/hand-overs", self.hand_over, methods=["POST"], status_code=201)
        router.add_api_route("/payers/{payer_id}/sessions", self.end_sessions, methods=["DELETE"], status_code=204)

    async def hand_over(self, service: Service, body: HandOverBody) -> HandedOver:
        """Return a one-time address that lets a payer's browser in to a payment of theirs; it lives for a minute.

        A repeat returns another address: what was made before and is not used is of no use to anybody.
        """
        request = GetPaymentRequest(payment_id=body.payment_id)
        answer = await self._front.peers.calls.status.GetPayment(request, metadata=service.metadata)
        if answer.payment.payer_id != body.payer_id:
            raise Refusal(404, "PAYMENT_NOT_FOUND", field="payment_id")
        code, expire_time = await self._hand_overs.make(
            tenant_id=service.tenant_id, payer_id=body.payer_id, payment_id=body.payment_id, locale=body.locale
        )
        url = f"{self._front.settings.public_origin}{ENTER}?{urlencode({'code': code})}"
        return HandedOver(url=url, expire_time=expire_time)

    async def end_sessions(self, service: Service, payer_id: PayerId) -> None:
        """End all sessions of a payer, such as when they log out of the platform or lose a device."""
        await self._hand_overs.revoke(tenant_id=service.tenant_id, payer_id=payer_id)
        for key in await self._front.sessions.end_all(service.tenant_id, payer_id):
            self._front.streams.end_session(key)

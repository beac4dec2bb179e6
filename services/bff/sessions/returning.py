"""`/return/{id}`: where banks and hosted pages send a browser back to, by GET or by a POST from their own site.

It changes nothing and shows nothing of a payment. What the sender wrote into the address or the form is thrown away by
a redirect to the same address without it: whether something was paid is status's to say, never a browser's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from batzen.orchestrator.v1.orchestrator_pb2 import GetPaymentSessionRequest
from services.bff.paths import RETURNS, payment_page
from services.bff.sessions.entering import TEXTS
from services.web.failures import Refusal
from services.web.front import Front
from services.web.messages import TEMPLATE, Message, values_of
from services.web.sessions.domain import Session
from services.web.texts import language_of

PAYMENT: Final = re.compile(r"pay_[0-9A-Za-z]{26}")
AT_STRIPE: Final = re.compile(r"(?:cs|pi|seti)_[0-9A-Za-z_]{1,200}")
"""Stripe fills in its own id where a payment had none yet when its page was made."""


class Returning:
    """The way back."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        path = f"{RETURNS}{{back:str}}"
        return [
            Route(path, self.posted, methods=["POST"]),
            Route(path, self.back, methods=["GET"]),
        ]

    async def posted(self, request: Request) -> Response:
        """Lead to our own GET, which has the cookie that a post from another site has not."""
        return RedirectResponse(f"{RETURNS}{_checked(request)}", status_code=303)

    async def back(self, request: Request) -> Response:
        """Lead to the page of the payment, or say that it goes on without a page."""
        back = _checked(request)
        if request.url.query:
            return RedirectResponse(f"{RETURNS}{back}", status_code=303)
        session = await self._front.session(request.scope)
        if session is None:
            language = language_of(request.headers.get("accept-language"))
            return self._front.pages.answer(request, TEMPLATE, unknown_values(language), status_code=401)
        payment_id = back if PAYMENT.fullmatch(back) else await self._payment_of(back, session, request)
        return RedirectResponse(payment_page(payment_id, returned=True), status_code=303)

    async def _payment_of(self, stripe_id: str, session: Session, request: Request) -> str:
        answer = await self._front.peers.calls.orchestrator.GetPaymentSession(
            GetPaymentSessionRequest(stripe_id=stripe_id), metadata=self._front.word(session, request.scope)
        )
        return answer.session.payment.payment_id


def unknown_values(language: str) -> Mapping[str, object]:
    """Return the page for a browser that comes back without a session: the same for every payment and for none."""
    message = Message(title=TEXTS.say(language, "returned.title"), text=TEXTS.say(language, "returned.text"))
    return values_of(message, language)


def _checked(request: Request) -> str:
    back: str = request.path_params["back"]
    if not (PAYMENT.fullmatch(back) or AT_STRIPE.fullmatch(back)):
        raise Refusal(404, "PAYMENT_NOT_FOUND")
    return back

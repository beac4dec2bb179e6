"""`/enter` and `/leave`: a browser brings a code and gets a session, or gives its session up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from services.bff.paths import ENTER, LEAVE, payment_page
from services.bff.sessions.hand_over import HandOvers
from services.runtime.rpc.identity import PAYER
from services.web.failures import Refusal
from services.web.front import Front
from services.web.messages import TEMPLATE, Message, values_of
from services.web.security.addresses import client_ip
from services.web.security.guard import CORRELATION
from services.web.texts import Texts, language_of

TEXTS: Final = Texts(Path(__file__).parent / "texts")


class Entering:
    """The way in and the way out."""

    def __init__(self, front: Front, hand_overs: HandOvers) -> None:
        self._front = front
        self._hand_overs = hand_overs

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route(ENTER, self.enter, methods=["GET"]),
            Route(LEAVE, self.leave, methods=["POST"]),
            Route(LEAVE, self.left, methods=["GET"]),
        ]

    async def enter(self, request: Request) -> Response:
        """Take a code, open a session in place of any that there is, and lead on to the payment without the code.

        Where it leads follows from the code alone, never from the request.
        """
        if "prefetch" in request.headers.get("sec-purpose", ""):
            raise Refusal(503, "LINK_EXPIRED")  # looked at ahead of the payer, who needs the code themselves
        found = await self._hand_overs.take(request.query_params.get("code", ""))
        if found is None:
            raise Refusal(410, "LINK_EXPIRED")
        await self._end(request)
        session_id = await self._front.sessions.open(
            tenant_id=found.tenant_id,
            subject=found.payer_id,
            role=PAYER,
            payment_id=found.payment_id,
            locale=found.locale,
            user_agent=request.headers.get("user-agent", ""),
        )
        await self._front.audit.add(
            tenant_id=found.tenant_id,
            subject=found.payer_id,
            what="entered",
            about=found.payment_id,
            client_ip=client_ip(request.scope),
            correlation_id=request.scope[CORRELATION],
        )
        answer = RedirectResponse(payment_page(found.payment_id), status_code=303)
        answer.headers["Set-Cookie"] = self._front.cookie.set(session_id)
        return answer

    async def leave(self, request: Request) -> Response:
        """End the session whose page sent this form."""
        session = await self._front.session(request.scope)
        if session is not None:
            self._front.forms.take(session, await self._front.forms.read(request))
            await self._end(request)
        answer = RedirectResponse(LEAVE, status_code=303)
        answer.headers["Set-Cookie"] = self._front.cookie.clear()
        answer.headers["Clear-Site-Data"] = '"cache", "storage"'
        return answer

    async def left(self, request: Request) -> Response:
        """Say that the session is ended."""
        language = language_of(request.headers.get("accept-language"))
        return self._front.pages.answer(request, TEMPLATE, left_values(language))

    async def _end(self, request: Request) -> None:
        session = await self._front.session(request.scope)
        if session is not None:
            await self._front.end(session)


def left_values(language: str) -> Mapping[str, object]:
    """Return the page after a session was ended."""
    message = Message(title=TEXTS.say(language, "left.title"), text=TEXTS.say(language, "left.text"))
    return values_of(message, language)

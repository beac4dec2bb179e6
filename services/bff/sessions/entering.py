"""`/enter` and `/leave`: a browser brings a code and gets a session, or gives its session up.

Anybody who has a code can make any browser bring it, and so have its payer pay, or keep a card, under another account.
So where another account is open in the browser, or another site than the tenant's sent it, the payer is asked first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from services.bff.paths import ENTER, LEAVE, payment_page
from services.bff.sessions.coming import is_sent_by_others
from services.bff.sessions.hand_over import HandOver, HandOvers
from services.bff.tenants import Tenant, Tenants
from services.runtime.rpc.identity import PAYER
from services.web.failures import Refusal
from services.web.front import Front
from services.web.messages import TEMPLATE, Message, values_of
from services.web.security.addresses import client_ip
from services.web.security.guard import CORRELATION
from services.web.sessions.domain import Session
from services.web.texts import Texts, language_of

TEXTS: Final = Texts(Path(__file__).parent / "texts")
ASKING: Final = "entering.html"
CODE: Final = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a payer is asked before a code opens an account in their browser."""

    action: str
    code: str
    button: str
    otherwise: str
    """The words of the way out; empty where there is none."""
    otherwise_href: str


class Entering:
    """The way in and the way out."""

    def __init__(self, front: Front, tenants: Tenants, hand_overs: HandOvers) -> None:
        self._front = front
        self._tenants = tenants
        self._hand_overs = hand_overs

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route(ENTER, self.enter, methods=["GET"]),
            Route(ENTER, self.confirmed, methods=["POST"]),
            Route(LEAVE, self.leave, methods=["POST"]),
            Route(LEAVE, self.left, methods=["GET"]),
        ]

    async def enter(self, request: Request) -> Response:
        """Take a code, or ask the payer first whether they mean it."""
        if "prefetch" in request.headers.get("sec-purpose", ""):
            raise Refusal(503, "LINK_EXPIRED")  # looked at ahead of the payer, who needs the code themselves
        code = request.query_params.get(CODE, "")
        found = await self._hand_overs.look(code)
        if found is None:
            raise Refusal(410, "LINK_EXPIRED")
        session = await self._front.session(request.scope)
        if self._is_to_be_asked(request, found, session):
            return await self._ask(request, code, found, session)
        return await self._opened(request, code, is_asked=False)

    async def confirmed(self, request: Request) -> Response:
        """Take the code of a form that asked. Only a page of ours can send it: the guard sees to that."""
        form = await self._front.forms.read(request)
        return await self._opened(request, form.get(CODE, ""), is_asked=True)

    def _is_to_be_asked(self, request: Request, found: HandOver, session: Session | None) -> bool:
        if session is not None:
            return (session.tenant_id, session.subject) != (found.tenant_id, found.payer_id)
        return is_sent_by_others(
            self._tenants.of(found.tenant_id),
            fetch_site=request.headers.get("sec-fetch-site"),
            referer=request.headers.get("referer"),
            own_origin=self._front.settings.public_origin,
        )

    async def _ask(self, request: Request, code: str, found: HandOver, session: Session | None) -> Response:
        asked = await self._hand_overs.ask(code)
        if asked is None:
            raise Refusal(410, "LINK_EXPIRED")
        language = language_of(found.locale or request.headers.get("accept-language"))
        values = asking_values(language, asked, found.payer_id, self._tenants.of(found.tenant_id), session)
        return self._front.pages.answer(request, ASKING, values)

    async def _opened(self, request: Request, code: str, *, is_asked: bool) -> Response:
        """Open a session in place of any that there is, and lead on to the payment without the code.

        Where it leads follows from the code alone, never from the request.
        """
        async with self._front.held.transaction("bff.hand_over.take") as connection:
            found = await self._hand_overs.take_in(connection, code, is_asked=is_asked)
            if found is None:
                raise Refusal(410, "LINK_EXPIRED")
            session_id = await self._front.sessions.open_in(
                connection,
                tenant_id=found.tenant_id,
                subject=found.payer_id,
                role=PAYER,
                payment_id=found.payment_id,
                locale=found.locale,
                user_agent=request.headers.get("user-agent", ""),
            )
        await self._end(request)
        await self._front.audit.add(
            tenant_id=found.tenant_id,
            subject=found.payer_id,
            what="entered",
            about=found.payment_id,
            detail="asked" if is_asked else "",
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


def asking_values(
    language: str, code: str, payer_id: str, tenant: Tenant, session: Session | None
) -> Mapping[str, object]:
    """Return the page that asks whether an account is the payer's own; `session` is of the account that is open."""

    def say(key: str) -> str:
        present = "" if session is None else session.subject
        return TEXTS.say(language, f"enter.{key}", payer=payer_id, name=tenant.name, present=present)

    if session is None:
        text, otherwise, href = say("text"), say("back") if tenant.home else "", tenant.home
    else:
        text = f"{say('present')} {say('text')}"
        otherwise, href = (say("stay"), payment_page(session.payment_id)) if session.payment_id else ("", "")
    asking = Asking(action=ENTER, code=code, button=say("button"), otherwise=otherwise, otherwise_href=href)
    return {**values_of(Message(title=say("title"), text=text), language), "asking": asking}

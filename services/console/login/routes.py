"""Where browsers go to log in and out, and what happens to one that asks for more than it has shown."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from services.console.login.domain import HOME, LOGIN_LIFE, Login, authorization_url, new_login, own_path
from services.console.login.id_token import LoggedIn, LoginRefused, read_id_token
from services.console.login.issuer import Issuer, IssuerUnavailable
from services.console.login.pages import (
    AGAIN,
    CALLBACK,
    LOGGED_OUT,
    LOGIN,
    LOGOUT,
    ME,
    STATUS,
    TEMPLATE,
    LoginState,
    login_page,
    login_url,
)
from services.console.login.settings import LoginSettings
from services.console.login.store import LoginStore
from services.console.metrics import LOGINS_REFUSED
from services.web.failures import failure_of
from services.web.front import Front
from services.web.security.forms import FIELD
from services.web.security.guard import CORRELATION
from services.web.security.headers import PageKind
from services.web.sessions.cookies import Cookie
from services.web.sessions.domain import OPERATOR as OPERATOR_LIMITS
from services.web.sessions.needed import OPERATORS, LogInNeeded, MayOnlyRead, ProofNeeded
from services.web.texts import language_of

MAX_AGE: Final[timedelta] = OPERATOR_LIMITS.absolute
"""How long ago a person may have proved to the issuer who they are when a session opens: as long as it may last."""
CODE_CHARACTERS_MAX: Final = 4096
_logger = logging.getLogger(__name__)


class LogInRoom:
    """The routes of logging in and out."""

    def __init__(self, front: Front, settings: LoginSettings, issuer: Issuer) -> None:
        self._front = front
        self._settings = settings
        self._issuer = issuer
        self._refused = front.meter.counter(LOGINS_REFUSED)
        self._logins = LoginStore(front.held, now=front.now)
        # Apart from the session's, which it would overwrite: the person is still logged in while they log in again.
        self._state_cookie = Cookie(name=f"{front.cookie.name}_login", is_secure=front.settings.is_secure)
        self._redirect_uri = f"{front.settings.public_origin}{CALLBACK}"

    def routes(self) -> list[BaseRoute]:
        """Return them."""
        return [
            Route(LOGIN, self.begin, methods=["GET"]),
            Route(AGAIN, self.begin_again, methods=["GET"]),
            Route(CALLBACK, self.end, methods=["GET"]),
            Route(LOGOUT, self.log_out, methods=["POST"]),
            Route(ME, self.me, methods=["GET"]),
            Route(LOGGED_OUT, self.logged_out, methods=["GET"]),
        ]

    async def begin(self, request: Request) -> Response:
        """Send the browser to the issuer; one that is logged in goes where it wants."""
        session = await self._front.session(request.scope)
        goes_to = own_path(request.query_params.get("to", HOME))
        if session is not None and session.role in OPERATORS:
            return RedirectResponse(goes_to, status_code=303)
        return await self._sent(request, is_proof=False)

    async def begin_again(self, request: Request) -> Response:
        """Send the browser to the issuer, which has to ask the person now."""
        return await self._sent(request, is_proof=True)

    async def end(self, request: Request) -> Response:
        """Open a session for who comes back from the issuer, under an id that nobody has seen before."""
        login = await self._login_of(request)
        try:
            if login is None:
                raise LoginRefused("no log-in is under way that this answers")
            who = await self._who(request, login)
        except LoginRefused as error:
            _logger.warning("A log-in came to nothing: %s", error)
            self._refused.add()
            return self._page(request, LoginState.FAILED, goes_to=HOME if login is None else login.goes_to)
        except IssuerUnavailable as error:
            _logger.warning("The issuer of operators is unavailable: %s", error)
            return self._page(request, LoginState.UNAVAILABLE, goes_to=HOME if login is None else login.goes_to)
        session_id = await self._opened(request, who, login)
        response = RedirectResponse(login.goes_to, status_code=303)
        response.headers.append("set-cookie", self._front.cookie.set(session_id))
        response.headers.append("set-cookie", self._state_cookie.clear())
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session, wherever else its cookie may be."""
        session = await self._front.session(request.scope)
        if session is not None:
            self._front.forms.take(session, await self._front.forms.read(request))
            await self._front.audit.add(
                tenant_id=session.tenant_id,
                subject=session.subject,
                what="logout",
                client_ip=_client_ip(request),
                correlation_id=request.scope[CORRELATION],
            )
            await self._front.end(session)
        response = RedirectResponse(LOGGED_OUT, status_code=303)
        response.headers.append("set-cookie", self._front.cookie.clear())
        return response

    async def me(self, request: Request) -> Response:
        """Say who is logged in and until when, and give the form field of one request, for scripts of our pages."""
        session = await self._front.require_operator(request)
        return JSONResponse(
            {
                "subject": session.subject,
                "tenant": session.tenant_id,
                "role": session.role,
                "authTime": session.auth_time.isoformat(),
                "expireTime": session.expire_time.isoformat(),
                FIELD: self._front.forms.field(session),
            }
        )

    async def logged_out(self, request: Request) -> Response:
        """Say that nobody is logged in any more."""
        return self._page(request, LoginState.OUT)

    async def refused(self, request: Request, error: Exception) -> Response:
        """Answer whoever asked for more than they have shown: a page leads to the log-in, a program reads a code."""
        assert isinstance(error, LogInNeeded | MayOnlyRead)  # noqa: S101 registered for these alone
        if "text/html" not in request.headers.get("accept", ""):
            return _told(request, error)
        is_page = request.method == "GET"
        if is_page and isinstance(error, LogInNeeded) and not isinstance(error, ProofNeeded):
            return RedirectResponse(login_url(_asked_for(request)), status_code=303)
        # A page and not the way itself: `form-action` stops a form whose answer leads to another host.
        comes_back = is_page and not isinstance(error, MayOnlyRead)
        return self._page(request, _state_of(error), goes_to=_asked_for(request) if comes_back else _came_from(request))

    async def _sent(self, request: Request, *, is_proof: bool) -> Response:
        goes_to = request.query_params.get("to", HOME)
        try:
            endpoints = await self._issuer.endpoints()
        except IssuerUnavailable as error:
            _logger.warning("The issuer of operators is unavailable: %s", error)
            return self._page(request, LoginState.UNAVAILABLE, goes_to=goes_to)
        login = new_login(goes_to=goes_to, is_proof=is_proof, now=self._front.now())
        await self._logins.put(login)
        response = RedirectResponse(
            authorization_url(
                endpoints.authorization,
                login,
                client_id=self._settings.client_id,
                redirect_uri=self._redirect_uri,
                max_age=MAX_AGE,
                locale=_language(request),
            ),
            status_code=303,
        )
        life = int(LOGIN_LIFE.total_seconds())
        response.headers.append("set-cookie", f"{self._state_cookie.set(login.state)}; Max-Age={life}")
        return response

    async def _login_of(self, request: Request) -> Login | None:
        """Return the log-in that the request ends; None unless this very browser began it."""
        state = request.query_params.get("state", "")
        if not state or self._state_cookie.read(request.scope) != state:
            return None
        return await self._logins.take(state)

    async def _who(self, request: Request, login: Login) -> LoggedIn:
        if "error" in request.query_params:
            raise LoginRefused(f"the issuer says {request.query_params['error'][:64]!r}")
        if request.query_params.get("iss", self._settings.issuer) != self._settings.issuer:
            raise LoginRefused("another issuer answers")
        code = request.query_params.get("code", "")
        if not 0 < len(code) <= CODE_CHARACTERS_MAX:
            raise LoginRefused("the issuer gave no code")
        token = await self._issuer.redeem(code, login, redirect_uri=self._redirect_uri)
        try:
            key = await self._issuer.key_of(token)
            return read_id_token(
                token, key, login=login, settings=self._settings, max_age=MAX_AGE, now=self._front.now()
            )
        except LoginRefused as error:
            # Only here is it somebody whom the issuer knows: anybody at all could fill the audit with the rest.
            await self._noted("login_refused", request, tenant_id=self._settings.tenant_id or "", detail=str(error))
            raise

    async def _opened(self, request: Request, who: LoggedIn, login: Login) -> str:
        session = await self._front.session(request.scope)
        before = None if session is None else (session.tenant_id, session.subject, session.role)
        session_id, what = None, "proof"
        if session is not None and login.is_proof and before == (who.tenant_id, who.subject, who.role):
            session_id = await self._front.sessions.rotate(session, auth_time=who.auth_time)
        if session_id is None:  # none to go on with, or it was ended meanwhile
            if session is not None:
                await self._front.end(session)
            session_id = await self._front.sessions.open(
                tenant_id=who.tenant_id,
                subject=who.subject,
                role=who.role,
                locale=_language(request),
                auth_time=who.auth_time,
                user_agent=request.headers.get("user-agent", ""),
            )
            what = "login"
        await self._noted(what, request, tenant_id=who.tenant_id, subject=who.subject, detail=who.role)
        return session_id

    async def _noted(
        self, what: str, request: Request, *, tenant_id: str = "", subject: str = "", detail: str = ""
    ) -> None:
        await self._front.audit.add(
            tenant_id=tenant_id,
            subject=subject,
            what=what,
            detail=detail,
            client_ip=_client_ip(request),
            correlation_id=request.scope[CORRELATION],
        )

    def _page(self, request: Request, state: LoginState, *, goes_to: str = HOME) -> Response:
        page = login_page(
            state, language=_language(request), goes_to=goes_to, correlation_id=request.scope[CORRELATION]
        )
        return self._front.pages.answer(
            request,
            TEMPLATE,
            {"page": page, "language": page.language, "skip": page.skip},
            kind=PageKind.CONSOLE,
            status_code=STATUS[state],
        )


def _state_of(error: LogInNeeded | MayOnlyRead) -> LoginState:
    match error:
        case MayOnlyRead():
            return LoginState.READONLY
        case ProofNeeded():
            return LoginState.PROOF
        case _:
            return LoginState.NEEDED


def _told(request: Request, error: LogInNeeded | MayOnlyRead) -> Response:
    """Tell a program; one that swaps parts of a page is told where that page goes whole."""
    failure = failure_of(error, _language(request), correlation_id=request.scope[CORRELATION])
    headers = {}
    if isinstance(error, LogInNeeded) and "hx-request" in request.headers:
        headers["HX-Redirect"] = login_url(_came_from(request), again=isinstance(error, ProofNeeded))
    return JSONResponse(
        {
            "success": False,
            "code": failure.code,
            "message": failure.message,
            "correlationId": failure.correlation_id,
        },
        status_code=failure.status,
        headers=headers,
    )


def _language(request: Request) -> str:
    return language_of(request.headers.get("accept-language"))


def _client_ip(request: Request) -> str:
    return "" if request.client is None else request.client.host


def _asked_for(request: Request) -> str:
    query = request.url.query
    return own_path(f"{request.url.path}?{query}" if query else request.url.path)


def _came_from(request: Request) -> str:
    """Return the page that a form was on: a path, whatever host the header names."""
    referer = request.headers.get("hx-current-url") or request.headers.get("referer", "")
    path = referer.partition("://")[2].partition("/")[2]
    return own_path(f"/{path.partition('#')[0]}")

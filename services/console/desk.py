"""What each room of the console is built with: who asks, what their calls carry, the page around theirs, and what is
shown when a service refuses.

    async def show(visit: Visit) -> Response:
        answer = await visit.calls.status.ListPayments(request, metadata=visit.word)
        return visit.page("payments.html", {"table": table_of(answer)}, here="payments")

    def routes(desk: Desk) -> list[BaseRoute]:
        return [desk.route("/payments", show)]
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batzen.client import Client
from batzen.errors import BatzenError, Unauthenticated
from services.console.navigation import NAVIGATION, Group
from services.web.failures import Failure, Refusal, failure_of
from services.web.front import Front
from services.web.security.forms import Form
from services.web.security.guard import CORRELATION
from services.web.security.headers import PageKind
from services.web.sessions.domain import Session
from services.web.sessions.needed import LogInNeeded, MayOnlyRead, ProofNeeded, may_write

LANGUAGE: Final = "en"
"""The console speaks as the command line and the runbook do."""
PROOF_TOO_OLD: Final = "PROOF_TOO_OLD"
"""What a service answers where its operator has to log in once more before money moves."""
FAULT: Final = 500
"""From this status on the fault is ours, or of what we call."""
TITLES: Final = {
    403: "You may not do that",
    404: "There is none",
    409: "That does not fit any more",
    429: "Too many at once",
    503: "A service does not answer",
    504: "A service took too long",
}
OTHERWISE: Final = "That did not work"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What stands around a page."""

    here: str
    operator: str
    may_act: bool
    form: str
    """The `request_id` of the form that logs out."""
    navigation: Sequence[Group] = NAVIGATION


class Visit:
    """One request of an operator."""

    def __init__(self, front: Front, request: Request, session: Session) -> None:
        self.front = front
        self.request = request
        self.session = session

    @property
    def calls(self) -> Client:
        """The services; each call is given `metadata=visit.word`."""
        return self.front.peers.calls

    @property
    def word(self) -> Sequence[tuple[str, str]]:
        """What a call in the operator's name is sent with."""
        return self.front.word(self.session, self.request.scope)

    @property
    def may_act(self) -> bool:
        """Whether buttons are shown; the services refuse whoever may not, whatever is shown."""
        return may_write(self.session)

    @property
    def correlation_id(self) -> str:
        """What the request is found by in all logs."""
        found: str = self.request.scope[CORRELATION]
        return found

    @property
    def client_ip(self) -> str:
        """Where the operator's browser is."""
        return self.request.client.host if self.request.client else ""

    def form_field(self, *, purpose: str = "") -> str:
        """Return the value of the hidden `request_id` of one form; with a `purpose` it is good for that alone."""
        return self.front.forms.field(self.session, purpose=purpose)

    async def form(self, *, purpose: str = "") -> tuple[str, Form]:
        """Return the `request_id` and the fields of a form that was sent.

        Raises:
            Refusal: It is none of ours, or of another session or purpose.
        """
        fields = await self.front.forms.read(self.request)
        return self.front.forms.take(self.session, fields, purpose=purpose), fields

    async def audit(self, what: str, *, about: str = "", detail: str = "") -> None:
        """Write down what the operator looks at, or takes along, before it is shown."""
        await self.front.audit.add(
            tenant_id=self.session.tenant_id,
            subject=self.session.subject,
            what=what,
            about=about,
            detail=detail,
            client_ip=self.client_ip,
            correlation_id=self.correlation_id,
        )

    def page(self, template: str, values: Mapping[str, object], *, here: str, status_code: int = 200) -> Response:
        """Answer with a page; `here` is the key of its line in the menu."""
        shell = Shell(
            here=here,
            operator=self.session.subject,
            may_act=self.may_act,
            form=self.form_field(),
        )
        return self.front.pages.answer(
            self.request, template, {"shell": shell, **values}, kind=PageKind.CONSOLE, status_code=status_code
        )


Endpoint = Callable[[Visit], Awaitable[Response]]


class Desk:
    """Makes routes of endpoints: for operators alone, and with a page where a service refuses."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def route(self, path: str, endpoint: Endpoint, *, methods: Sequence[str] = ("GET",), here: str = "") -> Route:
        """Return a route; `here` is the line of the menu that a page of trouble stands under."""

        async def answering(request: Request) -> Response:
            session = await self.front.require_operator(request)
            visit = Visit(self.front, request, session)
            try:
                return await endpoint(visit)
            except (LogInNeeded, MayOnlyRead):
                raise  # the log-in answers these
            except (BatzenError, Refusal) as error:
                if isinstance(error, Unauthenticated) and error.reason == PROOF_TOO_OLD:
                    raise ProofNeeded from error
                return _troubled(visit, trouble_of(error, correlation_id=visit.correlation_id), here=here)

        return Route(path, answering, methods=list(methods))


def trouble_of(error: BatzenError | Refusal, *, correlation_id: str) -> Failure:
    """Return what a page says of a refusal: the sentence of who refused, or where nobody answered one of ours."""
    failure = failure_of(error, LANGUAGE, correlation_id=correlation_id)
    if isinstance(error, BatzenError) and not error.reason:
        return failure
    return replace(failure, message=failure.explanation or failure.message)


def _troubled(visit: Visit, trouble: Failure, *, here: str) -> Response:
    if trouble.status >= FAULT:
        _logger.warning("A page was not shown: %s (%s)", trouble.code, trouble.correlation_id)
    values = {"trouble": trouble, "title": TITLES.get(trouble.status, OTHERWISE)}
    return visit.page("trouble.html", values, here=here, status_code=trouble.status)

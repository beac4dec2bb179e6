"""What all handlers of the checkout need: who asks, where a page stands, what the services say, and the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from batzen.errors import BatzenError, NotFound
from batzen.gateway.v1.payment_methods_pb2 import ListPaymentMethodsRequest, PaymentMethod
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import GetPaymentRequest
from services.bff.checkout import messages
from services.bff.checkout.place import Place
from services.bff.checkout.shown import Shown
from services.bff.checkout.wording import Wording
from services.bff.settings import BffSettings
from services.web.failures import Refusal, failure_of
from services.web.front import Front
from services.web.measured import note
from services.web.rates import PAYER, PAYMENT, READS, SharedRates
from services.web.security.guard import CORRELATION
from services.web.sessions.domain import Session
from services.web.texts import LANGUAGES, language_of

SEE_OTHER: Final = 303
CHOICE: Final = "batzen-choice"
"""The cookie with the way to pay that was chosen last: it outlives a log-in and is no secret."""
CHOICE_CHARACTERS_MAX: Final = 64
CHOICE_LIFE_S: Final = 3_600
_KEPT_QUERY: Final = ("method", "plain")
_logger = logging.getLogger(__name__)


class NoSession(Exception):
    """Whoever asks has to log in again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of a payer for one payment."""

    request: Request
    session: Session
    payment_id: str
    place: Place

    @property
    def home(self) -> str:
        """Where the payment's page is."""
        return self.place.home(self.payment_id)

    @property
    def choice(self) -> str:
        """The way to pay that is asked for, or was chosen before."""
        asked = self.request.query_params.get("method", "") or self.request.cookies.get(CHOICE, "")
        return asked if len(asked) <= CHOICE_CHARACTERS_MAX else ""

    def back(self, step: str = "") -> Response:
        """Lead to the payment's page, or a step of it."""
        return RedirectResponse(f"{self.home}{step}", status_code=SEE_OTHER)


class Room:
    """The front, as the checkout uses it."""

    def __init__(self, front: Front, settings: BffSettings) -> None:
        self.front = front
        self.settings = settings
        self._rates = SharedRates(front.held, now=front.now)

    async def visit(self, request: Request) -> Visit:
        """Return who asks and for what. Raises `NoSession`."""
        session = await self.front.session(request.scope)
        if session is None:
            raise NoSession
        payment_id = request.path_params["payment_id"]
        asked = request.query_params.get("lang", "")
        if asked in LANGUAGES and asked != session.locale:
            await self.front.sessions.speak(session, asked)
        language = asked if asked in LANGUAGES else _language(request, session)
        place = self._place(request, language, session.tenant_id, new_id=lambda: self.front.forms.field(session))
        return Visit(request=request, session=session, payment_id=payment_id, place=place)

    def anonymous(self, request: Request) -> Place:
        """Return the place of a page for whoever has no session: of the one tenant that there is."""
        asked = request.query_params.get("lang", "")
        language = asked if asked in LANGUAGES else language_of(request.headers.get("accept-language"))
        tenant_id = next(iter(self.settings.tenants.by_id), "batzen")
        return self._place(request, language, tenant_id, new_id=str)

    async def count(self, visit: Visit) -> None:
        """Count what a payer does. Raises `Refusal` where it is too much."""
        await self._rates.take(PAYER, visit.session.tenant_id, visit.session.subject)
        await self._rates.take(PAYMENT, visit.session.tenant_id, visit.session.subject, visit.payment_id)

    async def payment(self, visit: Visit) -> pb.PaymentSession:
        """Return the payment as it stands, with what its payer needs. Raises what the orchestrator refuses."""
        asked = pb.GetPaymentSessionRequest(payment_id=visit.payment_id)
        answer = await self.front.peers.calls.orchestrator.GetPaymentSession(asked, metadata=self.word(visit))
        return answer.session

    async def revision(self, visit: Visit) -> int:
        """Return at which revision the payment stands, also while the orchestrator is away; 0 if status is, too."""
        asked = GetPaymentRequest(payment_id=visit.payment_id)
        try:
            answer = await self.front.peers.calls.status.GetPayment(asked, metadata=self.word(visit))
        except BatzenError as error:
            _logger.warning("Nobody knows how a payment stands: %r", error)
            return 0
        return answer.payment.revision

    async def kept(self, visit: Visit) -> Sequence[PaymentMethod]:
        """Return the methods that the payer keeps; none while the gateway is away: there are other ways to pay."""
        asked = ListPaymentMethodsRequest(payer_id=visit.session.subject)
        try:
            answer = await self.front.peers.calls.payment_methods.ListPaymentMethods(asked, metadata=self.word(visit))
        except BatzenError as error:
            _logger.warning("The kept methods of a payer are not shown: %r", error)
            return ()
        return answer.payment_methods

    async def sync(self, visit: Visit) -> None:
        """Have the payment read at Stripe, unless it was read just now.

        What that cannot be done for shows as it stood before: who comes back from a bank is shown a page in any case.
        """
        try:
            await self._rates.take(READS, visit.session.tenant_id, visit.session.subject, visit.payment_id)
        except Refusal:
            return
        try:
            await self.front.peers.calls.orchestrator.SyncPayment(
                pb.SyncPaymentRequest(payment_id=visit.payment_id), metadata=self.word(visit)
            )
        except NotFound:
            raise
        except BatzenError as error:
            _logger.warning("A payment was not read again for its payer: %r", error)

    def word(self, visit: Visit) -> Sequence[tuple[str, str]]:
        """Return the metadata of calls in the payer's name."""
        return self.front.word(visit.session, visit.request.scope)

    def answer(self, request: Request, shown: Shown, *, status_code: int = 200) -> Response:
        """Answer with a page."""
        return self.front.pages.answer(request, shown.template, shown.values, kind=shown.kind, status_code=status_code)

    def refused(self, visit: Visit, error: BatzenError | Refusal) -> Response:
        """Answer with what a refusal means to the payer."""
        if isinstance(error, NotFound):
            return self.answer(visit.request, messages.missing(visit.place), status_code=404)
        failure = failure_of(error, visit.place.words.language, correlation_id=visit.place.reference)
        note(visit.request.scope, failure)
        shown = messages.failed(visit.place, failure, visit.payment_id)
        answer = self.answer(visit.request, shown, status_code=failure.status)
        if failure.retry_after is not None:
            answer.headers["Retry-After"] = str(failure.retry_after)
        return answer

    def is_stale(self, session: pb.PaymentSession) -> bool:
        """Tell whether the price does not stand any more."""
        quote = session.quote
        return quote.HasField("expire_time") and quote.expire_time.ToDatetime(UTC) <= self.front.now()

    def _place(self, request: Request, language: str, tenant_id: str, *, new_id: Callable[[], str]) -> Place:
        tenant = self.settings.tenants.of(tenant_id)
        kept = [(name, request.query_params[name]) for name in _KEPT_QUERY if name in request.query_params]
        path = request.url.path if request.method == "GET" else request.url.path.rpartition("/")[0]
        return Place(
            tenant_id=tenant_id,
            tenant=tenant,
            words=Wording(language, zone=tenant.time_zone),
            path=f"{path}?{urlencode(kept)}" if kept else path,
            now=self.front.now(),
            new_id=new_id,
            origin=self.front.settings.public_origin,
            stripe_script=self.settings.stripe_script,
            checkout_origins=self.settings.checkout_origins,
            is_plain="plain" in request.query_params,
            reference=request.scope[CORRELATION],
        )


def _language(request: Request, session: Session) -> str:
    return language_of(session.locale or None, otherwise=language_of(request.headers.get("accept-language")))


def remember(answer: Response, visit: Visit, choice: str, *, is_secure: bool) -> Response:
    """Let the browser keep which way to pay was chosen."""
    answer.set_cookie(
        CHOICE, choice, max_age=CHOICE_LIFE_S, path=visit.home, secure=is_secure, httponly=True, samesite="lax"
    )
    return answer

"""The application behind both forms of REST, and how the front's router finds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from services.bff.api.answering import LEGACY_PREFIX, answer_failures
from services.bff.api.legacy.methods import LegacyMethods
from services.bff.api.legacy.payments import LegacyPayments
from services.bff.api.legacy.refunds import LegacyRefunds
from services.bff.api.modern.methods import MethodResources
from services.bff.api.modern.payments import PaymentResources
from services.bff.api.modern.receipts import ReceiptResources
from services.bff.api.modern.satisfaction import SatisfactionResources
from services.bff.api.openapi import REFERENCE_PATH, SPECIFICATION_PATH, TITLE, VERSION, Reference, specification
from services.bff.api.operations import Operations
from services.bff.api.reading import ExactRoute
from services.bff.api.who import CALLERS
from services.bff.callers import Callers
from services.bff.sessions.resource import SessionResources
from services.bff.tenants import Tenants
from services.web.assertions import audience_of
from services.web.front import Front
from services.web.rates import AddressRates

PREFIXES: Final = ("/v1/", "/api/")
AUDIENCE: Final = "bff"
"""What another front calls this one in the tokens that it shows it."""


class Beneath(BaseRoute):
    """Hands all paths below some prefixes to an application, as they are: their paths are written in full there."""

    def __init__(self, prefixes: Sequence[str], app: ASGIApp) -> None:
        self._prefixes = tuple(prefixes)
        self._app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether the path of a request is one of these."""
        is_ours = scope["type"] == "http" and scope["path"].startswith(self._prefixes)
        return (Match.FULL if is_ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer."""
        await self._app(scope, receive, send)


def rest(front: Front, tenants: Tenants, addresses: AddressRates) -> FastAPI:
    """Return the application of both forms."""
    app = described(front, tenants)
    setattr(app.state, CALLERS, callers_of(front, addresses))
    app.add_route(SPECIFICATION_PATH, _specification, methods=["GET"], include_in_schema=False)
    app.add_route(REFERENCE_PATH, Reference(front, app).page, methods=["GET"], include_in_schema=False)
    answer_failures(app)
    return app


def callers_of(front: Front, addresses: AddressRates) -> Callers:
    """Return what tells who asks. The console's word for an operator has to be meant for this front alone."""
    process = front.settings.process
    verifier = process.verifier(further_audience=audience_of(AUDIENCE, process.token_audience))
    return Callers(front, verifier, addresses)


def described(front: Front, tenants: Tenants) -> FastAPI:
    """Return the application as its description has it; nothing of the front is used before it is called."""
    app = FastAPI(
        title=TITLE,
        version=VERSION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    operations = Operations(front, tenants)
    modern = APIRouter(prefix="/v1", route_class=ExactRoute, tags=["v1"])
    PaymentResources(front, operations).add_to(modern)
    ReceiptResources(front, tenants).add_to(modern)
    MethodResources(front).add_to(modern)
    SessionResources(front).add_to(modern)
    SatisfactionResources(front).add_to(modern)
    app.include_router(modern)
    legacy = APIRouter(prefix=LEGACY_PREFIX, route_class=ExactRoute, tags=["old clients"])
    payments = LegacyPayments(operations)
    payments.add_to(legacy)
    LegacyRefunds(front, payments).add_to(legacy)
    LegacyMethods(front).add_to(legacy)
    app.include_router(legacy)
    return app


async def _specification(request: Request) -> Response:
    return JSONResponse(specification(request.app), headers={"Cache-Control": "no-cache"})


def routes(front: Front, tenants: Tenants, addresses: AddressRates) -> list[BaseRoute]:
    """Return the routes of REST; they take all of `/v1/` and `/api/` that nothing before them took."""
    return [Beneath(PREFIXES, rest(front, tenants, addresses))]

"""What every handler of a front needs, made once when the process starts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from services.runtime.database.connections import DirectConnections, make_engine, ping
from services.runtime.database.engine_pool import EnginePool
from services.runtime.database.migrations import wait_for_schema
from services.runtime.observability.metrics import Meter
from services.runtime.observability.process_metrics import show_pools
from services.runtime.process.lifecycle import utc_now
from services.runtime.process.service import SCHEMA_WAIT_S
from services.runtime.rpc.health import Probe
from services.runtime.rpc.health_port import answering_health
from services.runtime.work.loops import repeating
from services.web.assertions import AssertionMinter, Person
from services.web.assets import Assets
from services.web.audit import Audit
from services.web.events.streams import EventStreams
from services.web.messages import Answers
from services.web.pages import Pages
from services.web.peers import Peers, connected
from services.web.rates import CLIENT_ADDRESS, address_of
from services.web.security.forms import Forms
from services.web.security.guard import CORRELATION
from services.web.sessions.cookies import Cookie
from services.web.sessions.domain import Limits, Session
from services.web.sessions.needed import (
    OPERATORS,
    LogInNeeded,
    MayOnlyRead,
    ProofNeeded,
    has_recent_proof,
    may_write,
)
from services.web.sessions.store import SessionStore
from services.web.settings import FrontSettings

SHARED: Final = Path(__file__).parent
DIRECT_CONNECTIONS: Final = 8
"""For sessions and counts, a statement of less than a millisecond each."""
FORGET_EVERY_S: Final = 30.0
FORGOTTEN_AT_ONCE: Final = 1_000
"""Sessions that are over; more than come to be in 30 s."""
SESSION: Final = "batzen.session"
"""Where the scope of a request holds its session once it was looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The parts of a running front."""

    settings: FrontSettings
    peers: Peers
    held: DirectConnections
    sessions: SessionStore
    cookie: Cookie
    forms: Forms
    answers: Answers
    audit: Audit
    minter: AssertionMinter
    assets: Assets
    pages: Pages
    meter: Meter
    streams: EventStreams
    draining: asyncio.Event
    """Set when the process ends: streams end themselves then."""
    probe: Probe
    """Returns when the front's database can be used."""
    now: Callable[[], datetime]

    async def session(self, scope: Scope) -> Session | None:
        """Return whose browser asks, looked for once in a request; None for one that has no session."""
        if SESSION not in scope:
            session_id = self.cookie.read(scope)
            scope[SESSION] = None if session_id is None else await self.sessions.find(session_id)
        session: Session | None = scope[SESSION]
        return session

    async def require_operator(self, request: HTTPConnection, *, to_write: bool = False) -> Session:
        """Return the session of the operator who asks, read-only ones too unless it is `to_write`.

        Raises `LogInNeeded` or `MayOnlyRead`, which the front answers.
        """
        session = await self.session(request.scope)
        if session is None or session.role not in OPERATORS:
            raise LogInNeeded
        if to_write and not may_write(session):
            raise MayOnlyRead
        return session

    async def end(self, session: Session) -> None:
        """End a session, and the streams that are open with it."""
        for key in await self.sessions.end(session):
            self.streams.end_session(key)

    def require_recent_proof(self, session: Session) -> None:
        """Raise `ProofNeeded` where the person has to log in once more before money moves."""
        if not has_recent_proof(session, now=self.now()):
            raise ProofNeeded

    def word(self, session: Session, scope: Scope) -> Sequence[tuple[str, str]]:
        """Return the metadata of a call in the name of a session's person."""
        word = (*self.minter.metadata(person_of(session)), ("x-correlation-id", scope[CORRELATION]))
        address = address_of(scope)  # of the browser: the orchestrator counts declines by it
        return (*word, (CLIENT_ADDRESS, address)) if address else word


def person_of(session: Session) -> Person:
    """Return who a session is of, as the services are told."""
    return Person(tenant_id=session.tenant_id, subject=session.subject, role=session.role, auth_time=session.auth_time)


@asynccontextmanager
async def building(
    settings: FrontSettings, *, service: str, home: Path, cookie_name: str, limits: Limits
) -> AsyncIterator[Front]:
    """Build what a front needs while inside; `home` is the folder of the front, with its templates and files."""
    process = settings.process
    draining = asyncio.Event()
    async with AsyncExitStack() as stack:
        meter = await stack.enter_async_context(process.metering())
        engine = make_engine(process.database_url, application_name=service)
        stack.push_async_callback(engine.dispose)
        held = await stack.enter_async_context(
            DirectConnections(process.database_url, application_name=service, size=DIRECT_CONNECTIONS)
        )
        show_pools(meter, held, EnginePool(engine))
        await wait_for_schema(engine, home / "migrations", timeout_s=SCHEMA_WAIT_S)
        peers = await stack.enter_async_context(connected(settings))
        assets = Assets([SHARED / "static", home / "static"])
        pages = Pages([home / "templates", SHARED / "templates"], assets=assets)
        sessions = SessionStore(held, limits=limits, now=utc_now)
        streams = EventStreams(living=sessions.living, draining=draining, meter=meter)
        front = Front(
            settings=settings,
            peers=peers,
            held=held,
            sessions=sessions,
            cookie=Cookie(name=cookie_name, is_secure=settings.is_secure),
            forms=Forms(),
            answers=Answers(pages),
            audit=Audit(held, now=utc_now),
            minter=AssertionMinter(
                settings.assertion_key.current,
                issuer=settings.assertion_issuer,
                audience=process.token_audience,
                now=utc_now,
            ),
            assets=assets,
            pages=pages,
            meter=meter,
            streams=streams,
            draining=draining,
            probe=partial(ping, engine),
            now=utc_now,
        )
        await stack.enter_async_context(streams.running())
        await stack.enter_async_context(
            repeating(partial(sessions.forget, at_most=FORGOTTEN_AT_ONCE), name="old sessions", every_s=FORGET_EVERY_S)
        )
        yield front


@asynccontextmanager
async def being_ready(front: Front) -> AsyncIterator[None]:
    """Answer health checks while inside. Pages are served before, and for a while after: who looks for a front that is
    ready finds it there.
    """
    address = front.settings.process.health_listen
    async with answering_health(address, probe=front.probe, draining=front.draining, meter=front.meter):
        yield

"""One try to send a webhook: signed, bounded in every way, and told as what came of it. Never tries again by itself.

A connection carries one try. A kept one may be closed by its receiver just when the next try is written to it, and
whether that arrived would not be known.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from batzen.version import VERSION
from services.orchestrator.webhooks_out.guard import Guard, GuardedResolver, ReceiverRefused, SystemNames
from services.orchestrator.webhooks_out.signing import signed_headers
from services.shared.text import storable

ANSWER_BYTES_MAX: Final = 1_024
"""So much of an answer is read and kept; the connection is closed on the rest."""
READ_BUFFER_BYTES: Final = 4_096
"""What arrives beyond that waits at the other side."""
PROBLEM_CHARACTERS_MAX: Final = 300
NAMES_KEPT_S: Final = 10
"""How long an answer of the DNS is used again; a receiver that moves is found soon."""
RETRY_AFTER_MAX: Final = timedelta(days=1)
"""What a receiver may ask for."""
USER_AGENT: Final = f"batzen-webhooks/{VERSION}"


class Outcome(StrEnum):
    """What came of one try."""

    DELIVERED = "DELIVERED"
    """The receiver answered 2xx."""
    REFUSED = "REFUSED"
    """It answered something else."""
    REDIRECTED = "REDIRECTED"
    """It answered 3xx, which is not followed."""
    TIMED_OUT = "TIMED_OUT"
    """It did not answer in time; it may have taken what was sent."""
    BROKEN = "BROKEN"
    """The connection ended without an answer, or with what is none; it may have taken what was sent."""
    UNREACHABLE = "UNREACHABLE"
    """There was no connection: name, TCP or TLS failed. Nothing was sent."""
    NOT_ALLOWED = "NOT_ALLOWED"
    """The URL or an address of its name may not be reached. Nothing was sent."""
    RECEIVER_BUSY = "RECEIVER_BUSY"
    """As many tries as may be are under way to this receiver. Nothing was sent, and it is no try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent, the same at each try."""

    url: str
    message_id: str
    """The header `webhook-id`, by which a receiver knows what it has already."""
    body: bytes
    secrets: Sequence[str] = field(repr=False)
    """Those that count now, at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try and what came of it."""

    outcome: Outcome
    duration: timedelta
    status: int = 0
    """Of the answer; 0 where there was none."""
    answer: str = ""
    """The first bytes of the answer, as a text that can be stored."""
    problem: str = ""
    """What went wrong, for an operator; empty where the receiver answered."""
    retry_after: timedelta | None = None
    """How long the receiver asks to be left alone."""

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.outcome is Outcome.DELIVERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a try may take, and how many there are at once."""

    connect_s: float = 5.0
    """Name, TCP and TLS."""
    total_s: float = 15.0
    """All of it up to the head of the answer. The convention asks for 15 to 30 s."""
    answer_s: float = 2.0
    """After that, for the first bytes of the answer's body: its head said already what came of it."""
    at_once: int = 4
    """Tries to one receiver in this process: what hangs there takes no more of the slots than that."""


def receiver_of(url: URL) -> str:
    """Return what of a URL answers: its host and port, in which all paths of one system meet."""
    return f"{(url.raw_host or '').rstrip('.').lower()}:{url.port}"


class Sender:
    """Sends, while inside. `now` is the time that signatures carry."""

    def __init__(
        self,
        *,
        guard: Guard,
        now: Callable[[], datetime],
        limits: Limits = Limits(),
        names: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`names` and `tls` are given by tests, whose names and certificates no system knows."""
        self._guard = guard
        self._now = now
        self._limits = limits
        self._names = names
        self._tls = tls or ssl.create_default_context()
        self._under_way: Counter[str] = Counter()
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(self._guard, self._names or SystemNames()),
            socket_factory=self._guard.socket,
            ssl=self._tls,
            limit=0,  # whoever sends has slots; what waited here would count as a receiver's silence
            force_close=True,
            ttl_dns_cache=NAMES_KEPT_S,
        )
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._limits.connect_s),
                auto_decompress=False,  # a small answer may unpack to a large one
                read_bufsize=READ_BUFFER_BYTES,
                trust_env=False,
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def send(self, message: Message) -> Attempt:
        """Try once. Raises nothing that a receiver could cause."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            url = self._guard.url(message.url)
            with self._one_more_to(receiver_of(url)) as has_room:
                if not has_room:
                    return Attempt(outcome=Outcome.RECEIVER_BUSY, duration=timedelta(0))
                return await self._post(url, message, began_s)
        except (ReceiverRefused, aiohttp.ClientError, TimeoutError) as error:
            outcome, problem = self._failure(error)
            duration = timedelta(seconds=loop.time() - began_s)
        return Attempt(
            outcome=outcome, duration=duration, problem=storable(problem, characters_max=PROBLEM_CHARACTERS_MAX)
        )

    def _failure(self, error: Exception) -> tuple[Outcome, str]:
        """Return what an error means, and its words for an operator; from the narrower kinds to the wider ones."""
        is_unconnected = isinstance(error, aiohttp.ClientConnectorError)
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        match cause:
            case ReceiverRefused() | aiohttp.InvalidURL():
                outcome, said = Outcome.NOT_ALLOWED, str(cause)
            case _ if is_unconnected:
                outcome, said = Outcome.UNREACHABLE, str(cause)
            case aiohttp.ClientConnectorCertificateError():
                outcome, said = Outcome.UNREACHABLE, str(cause.certificate_error)
            case aiohttp.ConnectionTimeoutError():
                outcome, said = Outcome.UNREACHABLE, f"No connection within {self._limits.connect_s:g} s."
            case TimeoutError():
                outcome, said = Outcome.TIMED_OUT, f"No answer within {self._limits.total_s:g} s."
            case _:
                outcome, said = Outcome.BROKEN, str(cause)
        return outcome, said or type(cause).__name__

    async def _post(self, url: URL, message: Message, began_s: float) -> Attempt:
        assert self._session is not None, "used outside of `async with`"  # noqa: S101
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": USER_AGENT,
            **signed_headers(message.body, message_id=message.message_id, time=self._now(), secrets=message.secrets),
        }
        async with asyncio.timeout(self._limits.total_s):
            answer = await self._session.post(url, data=message.body, headers=headers, allow_redirects=False)
        try:
            first = await self._first_bytes(answer)
        finally:
            answer.close()
        return Attempt(
            outcome=_outcome_of(answer.status),
            duration=timedelta(seconds=asyncio.get_running_loop().time() - began_s),
            status=answer.status,
            answer=storable(first.decode(errors="replace"), characters_max=ANSWER_BYTES_MAX),
            retry_after=retry_after(answer.headers.get("retry-after", ""), now=self._now()),
        )

    async def _first_bytes(self, answer: aiohttp.ClientResponse) -> bytes:
        """Return the beginning of the body, or what of it came: the head said already what became of the try."""
        first = b""
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(self._limits.answer_s):
                while len(first) < ANSWER_BYTES_MAX and (more := await answer.content.read(ANSWER_BYTES_MAX)):
                    first += more
        return first[:ANSWER_BYTES_MAX]

    @contextlib.contextmanager
    def _one_more_to(self, receiver: str) -> Iterator[bool]:
        """Count one more try to a receiver while inside; False where there may be none."""
        if self._under_way[receiver] >= self._limits.at_once:
            yield False
            return
        self._under_way[receiver] += 1
        try:
            yield True
        finally:
            self._under_way[receiver] -= 1
            self._under_way += Counter()  # forgets those with none


def retry_after(header: str, *, now: datetime) -> timedelta | None:
    """Return how long a receiver wants to be left alone, from seconds or a date; None from anything else."""
    if header.isascii() and header.isdigit():
        return min(timedelta(seconds=int(header[:9])), RETRY_AFTER_MAX)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, OverflowError):  # a year or an offset without end
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max(until - now, timedelta(0)), RETRY_AFTER_MAX)


def _outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome.DELIVERED
    return Outcome.REDIRECTED if 300 <= status < 400 else Outcome.REFUSED

"""Browsers in front of a cluster: they listen to payments as `EventSource` does, poll, and note what they were told."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

import httpx

from local.suite import Suite
from tests.web.listening import Heard, Listener
from tests.web.logging_in import logged_in
from tests.web.shop import Shop, a_shop

TABS: Final = 2
"""Streams of each payment."""
POLL_S: Final = 0.2
PATIENCE: Final = httpx.Timeout(20, read=45)
"""A sign of life comes every 15 s."""
RETRY_MS: Final = 3_000
"""What a browser waits that was told nothing."""
TRIES: Final = 3
"""Of a request whose connection is refused, which a proxy makes again."""
PROXIED: Final = "x-forwarded-for"


@dataclass(slots=True, kw_only=True)
class Told:
    """What one tab was told of its payment."""

    payment_id: str
    revisions: list[int] = field(default_factory=list)
    is_settled: bool = False
    """By the last revision that it was told."""
    has_ended: bool = False

    def take(self, heard: Heard) -> None:
        """Take note of an event."""
        if heard.name == "payment_status_update":
            self.revisions.append(heard.data["revision"])
            self.is_settled = heard.data["settled"]
        self.has_ended = heard.name == "end"


def unheard(tabs: Sequence[Told]) -> list[str]:
    """Return what is wrong with tabs: a revision that was left out, told again or out of order, or no end."""
    wrongs = []
    for tab in tabs:
        told = tab.revisions
        if not told or told != list(range(told[0], told[0] + len(told))):
            wrongs.append(f"a browser was told {told} of {tab.payment_id}")
        if not (tab.has_ended and tab.is_settled):
            ends = "ended" if tab.has_ended else "did not end"
            settled = "settled" if tab.is_settled else "not settled"
            wrongs.append(f"a browser's stream of {tab.payment_id} {ends}, and it was {settled} at {told[-1:]}")
    return wrongs


class Browsers:
    """All browsers of a run."""

    def __init__(self, shop: Shop, fail: Callable[[str], None]) -> None:
        """`fail` hears of each request that failed."""
        self.tabs: list[Told] = []
        self.answers: Counter[str] = Counter()
        self.refused = 0
        """Connections, each tried again."""
        self.streams = 0
        """Begun, first ones and those after."""
        self.cut = 0
        """Streams that did not end in order."""
        self._shop = shop
        self._fail = fail
        self._addresses = (f"203.0.113.{number % 254 + 1}" for number in itertools.count())

    @property
    def came_back(self) -> int:
        """How often a tab began a further stream."""
        return self.streams - len(self.tabs)

    @classmethod
    @asynccontextmanager
    async def of(cls, suite: Suite, fail: Callable[[str], None]) -> AsyncIterator[Self]:
        """Yield browsers whose platform hands them over."""
        async with a_shop(suite) as shop:
            yield cls(shop, fail)

    async def pay(self, payment_id: str, payer_id: str) -> None:
        """Have a payer with some tabs, and one without scripts, stay with a payment until it is settled."""
        async with self._shop.browser(payment_id, payer_id=payer_id) as browser:
            browser.headers[PROXIED] = next(self._addresses)  # or all of them were one that asks too often
            async with asyncio.TaskGroup() as group:
                for _ in range(TABS):
                    group.create_task(self._listen(browser, payment_id))
                group.create_task(self._poll(browser, payment_id))

    async def operate(self, suite: Suite, until: asyncio.Event) -> None:
        """Have an operator look at the list of payments again and again."""
        async with logged_in(suite) as browser:
            while not until.is_set():
                await self._asked("GET /payments", lambda: browser.get("/payments"), known=(200,))
                await waited(until, POLL_S)

    async def _listen(self, browser: httpx.AsyncClient, payment_id: str) -> None:
        tab = Told(payment_id=payment_id)
        self.tabs.append(tab)
        place, retry_ms = "", RETRY_MS
        while not tab.has_ended:
            headers = {"accept": "text/event-stream"} | ({"last-event-id": place} if place else {})
            address = f"/v1/payments/{payment_id}/events"
            self.streams += 1
            try:
                async with browser.stream("GET", address, headers=headers, timeout=PATIENCE) as answer:
                    if answer.status_code == 204:
                        tab.has_ended = True
                        return
                    if answer.status_code != 200:  # `EventSource` gives up, and the page polls; here it comes back
                        self._fail(f"a stream was answered with {answer.status_code}: {await answer.aread()!r}")
                        retry_ms = RETRY_MS
                        continue
                    listener = Listener(answer, within_s=None)
                    try:
                        async for heard in _events(listener):
                            place = heard.last_id or place
                            tab.take(heard)
                    finally:
                        retry_ms = listener.retry_ms or retry_ms
            except httpx.TransportError:
                self.cut += 1
            finally:
                if not tab.has_ended:
                    await waited(asyncio.Event(), retry_ms / 1000)

    async def _poll(self, browser: httpx.AsyncClient, payment_id: str) -> None:
        tag, revision, is_settled = "", 0, False
        while not is_settled:
            headers = {"if-none-match": tag} if tag else {}
            answer = await self._asked(
                "GET /v1/payments/{id}",
                partial(browser.get, f"/v1/payments/{payment_id}", headers=headers),
                known=(200, 304) if tag else (200,),
            )
            if answer is not None and answer.status_code == 200:
                tag, payment = answer.headers["etag"], answer.json()
                if payment["revision"] < revision:
                    self._fail(f"a poller of {payment_id} was told {payment['revision']} after {revision}")
                revision, is_settled = payment["revision"], payment["settled"]
            await waited(asyncio.Event(), POLL_S)

    async def _asked(
        self, what: str, ask: Callable[[], Awaitable[httpx.Response]], *, known: Sequence[int]
    ) -> httpx.Response | None:
        """Return the answer if it is one of the `known` ones; what is not, and what has none, is a failure."""
        begun = time.strftime("%H:%M:%S")
        for left in reversed(range(TRIES)):
            try:
                answer = await ask()
            except httpx.ConnectError as failure:
                self.refused += 1
                if not left:
                    self._fail(f"{begun} {what}: {failure!r}")
            except httpx.TransportError as failure:
                self._fail(f"{begun} {what}: {failure!r}")
                return None
            else:
                self.answers[f"{what} {answer.status_code}"] += 1
                if answer.status_code in known:
                    return answer
                self._fail(f"{begun} {what}: {answer.status_code} {answer.text[:300]}")
                return None
        return None


async def _events(listener: Listener) -> AsyncIterator[Heard]:
    while True:
        try:
            heard = await listener.next()
        except StopAsyncIteration:
            return
        yield heard


async def waited(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but no longer than so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

"""Asking for payments one by one while there is no stream for them, at a bounded rate."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Final

from batzen import errors
from batzen.watching.connection import ConnectionState
from batzen.watching.figures import Figures
from batzen.watching.limits import WatchLimits
from batzen.watching.reading import Archive
from batzen.watching.stream_connection import StreamConnection
from batzen.watching.topic import Asked, Topic, Verdict

POLL_PAGE: Final = 100
"""Transitions of one payment taken at once; more of them come with the next round."""


class Poller:
    """Polls the topics of connections that have no stream."""

    def __init__(
        self,
        connections: Callable[[], Iterable[StreamConnection]],
        *,
        archive: Archive,
        limits: WatchLimits,
        figures: Figures,
        chance: random.Random,
    ) -> None:
        self._connections = connections
        self._archive = archive
        self._limits = limits
        self._figures = figures
        self._chance = chance
        self._wanted = asyncio.Event()

    def look(self) -> None:
        """See whether there is something to poll."""
        if any(connection.state is ConnectionState.POLLING for connection in self._connections()):
            self._wanted.set()
        else:
            self._wanted.clear()

    async def run(self) -> None:
        """Poll for ever; end by cancellation."""
        while True:
            await self._wanted.wait()
            for connection in list(self._connections()):
                await self._round(connection)
            await asyncio.sleep(self._chance.uniform(0.5, 1.0) * self._limits.poll_every_s)

    async def _round(self, connection: StreamConnection) -> None:
        """Ask for each topic of a connection once, unless its stream comes back or the server is away."""
        for topic in list(connection.session.topics.values()):
            if connection.state is not ConnectionState.POLLING:
                return
            asked = topic.ask()
            if asked is None:
                connection.session.remove(topic)
                continue
            self._figures.polls += 1
            try:
                await self._poll(topic, asked)
                connection.answered()
            except errors.LASTING as error:
                connection.answered()
                if topic.refused(asked, error, now=asyncio.get_running_loop().time()) is Verdict.OVER:
                    connection.session.remove(topic)
            except errors.BatzenError as error:
                if not error.reason:
                    return  # nobody is there: the next round asks again, and the connection's patience has an end
            await asyncio.sleep(1 / self._limits.polls_per_s)

    async def _poll(self, topic: Topic, asked: Asked) -> None:
        if topic.is_opening:
            payment = await self._archive.payment(topic.payment_id, token=asked.token)
            topic.opened(asked, revision=payment.revision, payment=payment)
        if topic.heard is not None:
            transitions = await self._archive.transitions(
                topic.payment_id, after_revision=topic.heard, at_most=POLL_PAGE, token=asked.token
            )
            for update in transitions:
                topic.transition(update)

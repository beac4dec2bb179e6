"""Who follows what, and on which stream. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable

import grpc

from batzen import errors
from batzen.status.v1.status_pb2 import Transition
from batzen.watching.assertions import Principal
from batzen.watching.backlog import Backlog
from batzen.watching.figures import Figures
from batzen.watching.limits import Backoff, WatchLimits
from batzen.watching.session import Session
from batzen.watching.topic import Topic


class WatchRegistry:
    """Readers of one payment in one name share a topic; topics share a stream while it has room."""

    def __init__(
        self,
        *,
        limits: WatchLimits,
        figures: Figures,
        chance: random.Random,
        saw: Callable[[Transition], None],
        began: Callable[[Session], None],
    ) -> None:
        """`saw` is called with each update that is new; `began` has to find a stream for a new session."""
        self.sessions: list[Session] = []
        self._limits = limits
        self._figures = figures
        self._chance = chance
        self._saw = saw
        self._began = began
        self._topics: dict[tuple[str, Principal | None], Topic] = {}

    def join(self, payment_id: str, reader: Backlog) -> Topic:
        """Give a reader its topic: the one there is, or a new one."""
        principal = None if reader.assertion is None else reader.assertion.principal
        topic = self._topics.get((payment_id, principal))
        if topic is not None and topic.readers:
            topic.join(reader)
            return topic
        if topic is not None:  # its readers all failed, and are about to leave
            self._forget(topic)
        topic = self._topics[payment_id, principal] = Topic(
            payment_id,
            principal,
            backoff=Backoff(self._limits, self._chance),
            patience_s=self._limits.patience_s,
            figures=self._figures,
            saw=self._saw,
        )
        topic.join(reader)
        self._place(topic)
        return topic

    def leave(self, topic: Topic, reader: Backlog) -> None:
        """Let a reader go, and the topic with the last of them."""
        topic.leave(reader)
        if not topic.readers:
            self._forget(topic)

    def fail(self, error: Exception) -> None:
        """End all readers with an error."""
        for topic in list(self._topics.values()):
            topic.fail(error)
            self._forget(topic)

    def _forget(self, topic: Topic) -> None:
        for session in self.sessions:
            session.remove(topic)
        key = (topic.payment_id, topic.principal)
        if self._topics.get(key) is topic:
            del self._topics[key]

    def _place(self, topic: Topic) -> None:
        """Put a topic on a stream that has room for it, or on a new one."""
        session = next((session for session in self.sessions if session.has_room_for(topic)), None)
        if session is not None:
            session.assign(topic)
        elif len(self.sessions) < self._limits.streams_max:
            session = Session(figures=self._figures, homeless=self._place)
            self.sessions.append(session)
            self._began(session)
            session.assign(topic)
        else:
            full = f"All {self._limits.streams_max} streams of this client are full; watch from another process, too."
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            topic.fail(errors.refused(code, reason="TOO_MANY_WATCHES", message=full))

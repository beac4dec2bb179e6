"""What is sent and received on one `WatchMany` stream. Pure: the stream itself is kept by `stream_connection.py`.

The contract: each Add is answered by one Created or one Canceled, and a watch ends with one Canceled. So a payment is
added again only after its last watch on this stream was canceled, and after a Drop everything about the payment is
passed over until then. A stream has one watch of a payment at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import grpc

from batzen import errors
from batzen.status.v1.status_pb2 import WatchManyRequest, WatchManyResponse
from batzen.watching.assertions import Principal
from batzen.watching.figures import Figures
from batzen.watching.limits import COMMANDS_MAX, REQUEST_BYTES
from batzen.watching.topic import Asked, Topic, Verdict

_STATUS: Final = {status.value[0]: status for status in grpc.StatusCode}


class _State(Enum):
    """How far the watch of a payment is on the stream."""

    ADDING = auto()
    WATCHED = auto()
    DROPPING = auto()
    """No longer wanted; its events are passed over until it is canceled."""


@dataclass(slots=True)
class _Watch:
    state: _State
    asked: Asked


class Session:
    """The topics of one stream, and where their watches stand on it."""

    def __init__(self, *, figures: Figures, homeless: Callable[[Topic], None]) -> None:
        """`homeless` is called with a topic that turned out to have no room on the stream."""
        self.topics: dict[str, Topic] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called when there may be something to say."""
        self._figures = figures
        self._homeless = homeless
        self._watches: dict[str, _Watch] = {}
        self._to_add: dict[str, None] = {}
        self._to_drop: dict[str, None] = {}
        self._to_renew: dict[str, None] = {}
        self._to_resume: set[str] = set()
        self._room: int | None = None
        self._roles: dict[str, Principal] = {}

    @property
    def to_add(self) -> frozenset[str]:
        """The payments that this stream has yet to be asked for."""
        return frozenset(self._to_add)

    @property
    def added(self) -> frozenset[str]:
        """The payments that this stream was asked for."""
        return frozenset(self._watches)

    def has_room_for(self, topic: Topic) -> bool:
        """Return whether the stream takes another watch, as far as is known, and has none of the same payment.

        A stream knows an end user by one token: whoever is here in another role needs another stream.
        """
        if self._room is not None and len(self.topics) >= self._room:
            return False
        principal = topic.principal
        in_another_role = principal is not None and self._roles.get(principal.subject, principal) != principal
        return topic.payment_id not in self.topics and not in_another_role

    def assign(self, topic: Topic) -> None:
        """Follow a topic on this stream from now on."""
        self.topics[topic.payment_id] = topic
        if topic.principal is not None:
            self._roles.setdefault(topic.principal.subject, topic.principal)
        if topic.payment_id not in self._watches:
            self._to_add[topic.payment_id] = None
        self.changed()

    def remove(self, topic: Topic) -> None:
        """Follow it no longer."""
        payment_id = topic.payment_id
        if self.topics.get(payment_id) is not topic:
            return
        del self.topics[payment_id]
        self._to_add.pop(payment_id, None)
        self._to_resume.discard(payment_id)
        watch = self._watches.get(payment_id)
        if watch is not None and watch.state is not _State.DROPPING:
            watch.state = _State.DROPPING
            self._to_drop[payment_id] = None
        self.changed()

    # What is sent.

    def next_request(self, *, now: float) -> WatchManyRequest | None:
        """Return the next message to send; None if there is nothing to say now."""
        commands: list[WatchManyRequest.Command] = []
        size = 0
        for command in self._commands(now):
            commands.append(command)
            size += command.ByteSize()
            if len(commands) == COMMANDS_MAX or size >= REQUEST_BYTES:
                break
        return WatchManyRequest(commands=commands) if commands else None

    def next_due(self) -> float | None:
        """Return when there will be something to say at the latest; None if that depends on what happens."""
        return min((self.topics[payment_id].retry_at for payment_id in self._to_add), default=None)

    def renew(self, part: int = 0, *, parts: int = 1) -> None:
        """See whether there are newer tokens for watches that run, of one part of all people."""
        newest: dict[Principal, tuple[float, str]] = {}
        running: list[tuple[Principal, _Watch]] = []
        for payment_id, watch in self._watches.items():
            topic = self.topics.get(payment_id)
            if topic is None or topic.principal is None or watch.state is not _State.WATCHED:
                continue
            if hash(topic.principal.subject) % parts != part:
                continue
            running.append((topic.principal, watch))
            for assertion, token in topic.tokens().items():
                if assertion.is_verified:
                    known = newest.get(topic.principal, (0.0, ""))
                    newest[topic.principal] = max(known, (assertion.expire_time_s, token))
        for principal, watch in running:
            _, token = newest.get(principal, (0.0, ""))
            if token and token != watch.asked.newest_token:
                watch.asked.newest_token = token
                self._to_renew[token] = None
        self.changed()

    def _commands(self, now: float) -> Iterator[WatchManyRequest.Command]:
        while self._to_drop:
            payment_id = next(iter(self._to_drop))
            del self._to_drop[payment_id]
            yield WatchManyRequest.Command(drop=WatchManyRequest.Drop(payment_id=payment_id))
        for payment_id in list(self._to_add):
            topic = self.topics[payment_id]
            if topic.retry_at > now:
                continue
            asked = topic.ask()
            del self._to_add[payment_id]
            if asked is None:
                del self.topics[payment_id]
                continue
            self._watches[payment_id] = _Watch(_State.ADDING, asked)
            yield WatchManyRequest.Command(add=topic.add(asked))
        while self._to_renew:
            token = next(iter(self._to_renew))
            del self._to_renew[token]
            yield WatchManyRequest.Command(renew=WatchManyRequest.Renew(assertion=token))

    # What is received.

    def lost(self) -> None:
        """Learn that the stream is gone: all topics have to be added to the next one."""
        self._to_resume |= {name for name, watch in self._watches.items() if watch.state is _State.WATCHED}
        self._watches.clear()
        self._to_drop.clear()
        self._to_renew.clear()
        self._to_add = dict.fromkeys(self.topics)
        self._room = None
        self._roles.clear()
        for topic in self.topics.values():
            topic.retry_at = 0.0
            if topic.principal is not None:
                self._roles[topic.principal.subject] = topic.principal

    def hear(self, response: WatchManyResponse, *, now: float) -> None:
        """Take a message, and hand on what is in it."""
        for event in response.events:
            match event.WhichOneof("event"):
                case "transition":
                    topic = self._topic_of(event.transition.payment_id)
                    if topic is not None:
                        topic.transition(event.transition)
                case "created":
                    self._created(event.created)
                case "canceled":
                    self._canceled(event.canceled, now)

    def _topic_of(self, payment_id: str) -> Topic | None:
        """Return the topic that an event is for; None if its watch is on its way out."""
        watch = self._watches.get(payment_id)
        return None if watch is None or watch.state is _State.DROPPING else self.topics[payment_id]

    def _created(self, created: WatchManyResponse.Created) -> None:
        topic = self._topic_of(created.payment_id)
        if topic is None:
            return
        watch = self._watches[created.payment_id]
        watch.state = _State.WATCHED
        if created.payment_id in self._to_resume:
            self._to_resume.discard(created.payment_id)
            self._figures.resumes += 1
        payment = created.payment if created.HasField("payment") else None
        topic.opened(watch.asked, revision=created.current_revision, payment=payment)

    def _canceled(self, canceled: WatchManyResponse.Canceled, now: float) -> None:
        payment_id = canceled.payment_id
        watch = self._watches.pop(payment_id, None)
        if watch is None:
            return
        if watch.state is _State.DROPPING:
            self._to_drop.pop(payment_id, None)  # it ended before the Drop was said
            if payment_id in self.topics:  # wanted again meanwhile
                self._to_add[payment_id] = None
                self.changed()
            return
        topic = self.topics[payment_id]
        error = errors.refused(
            _STATUS.get(canceled.code, grpc.StatusCode.UNKNOWN),
            reason=canceled.reason,
            message=canceled.message,
            metadata=canceled.metadata,
        )
        self._figures.overflows += canceled.reason == "WATCH_OVERFLOW"
        match topic.refused(watch.asked, error, now=now):
            case Verdict.AGAIN:
                self._to_add[payment_id] = None
                if watch.state is _State.WATCHED:
                    self._to_resume.add(payment_id)
                self.changed()
            case Verdict.ELSEWHERE:
                del self.topics[payment_id]
                self._room = len(self._watches)
                self._homeless(topic)
            case Verdict.OVER:
                del self.topics[payment_id]
                self.changed()

"""A watch of one payment, and all watches of a payment.

A watch is a place in the payment's history: `tail` is the last revision that its stream was given. It is offered the
next one when that commits, and what lies between is read for it when it begins early or when its reader was slow. So
nothing is ever skipped, and no queue has to hold what the history holds.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

from services.errors import ServiceError
from services.status.domain.records import Transition
from services.status.domain.snapshot import is_settled
from services.status.watches.send_queue import SendQueue
from services.status.wire.responses import transition_message

NOT_BEGUN: Final = 2**63
"""The tail of a watch that has not begun: no revision comes after it."""

UNKNOWN_REVISION: Final = NOT_BEGUN - 1
"""What a hint says that names no revision."""

Form = Callable[[bytes], bytes]
"""Makes a serialised transition a message of a kind of stream."""
Cancel = Callable[["Watch", ServiceError], None]
"""Ends one watch of a stream for a reason."""


class Update:
    """One transition on its way to watches: serialised once, and put into each form of stream once."""

    __slots__ = ("_in_form", "payment_id", "recorded_at", "revision", "serialized", "settled")

    def __init__(self, payment_id: str, revision: int, *, settled: bool, serialized: bytes, recorded_at: float) -> None:
        """`serialized` is the message batzen.status.v1.Transition; `recorded_at` is in seconds of Unix time."""
        self.payment_id = payment_id
        self.revision = revision
        self.settled = settled
        self.serialized = serialized
        self.recorded_at = recorded_at
        self._in_form: dict[Form, bytes] = {}

    @classmethod
    def of(cls, transition: Transition) -> Update:
        """Return the update that a transition of the history makes."""
        return cls(
            transition.payment_id,
            transition.revision,
            settled=is_settled(transition.snapshot),
            serialized=transition_message(transition).SerializeToString(),
            recorded_at=transition.record_time.timestamp(),
        )

    def in_form(self, form: Form) -> bytes:
        message = self._in_form.get(form)
        if message is None:
            message = self._in_form[form] = form(self.serialized)
        return message


class Watch:
    """One payment on one stream."""

    __slots__ = (
        "_emptied",
        "_queued_after",
        "cancel",
        "form",
        "latest_only",
        "live_after",
        "send_queue",
        "tail",
        "topic",
        "until_settled",
    )

    def __init__(
        self,
        topic: Topic,
        send_queue: SendQueue,
        *,
        form: Form,
        cancel: Cancel,
        latest_only: bool,
        until_settled: bool = False,
    ) -> None:
        self.topic = topic
        self.send_queue = send_queue
        self.form = form
        self.cancel = cancel
        self.latest_only = latest_only
        self.until_settled = until_settled
        """Whether the stream ends in order with the transition that settles the payment."""
        self.tail = NOT_BEGUN
        """The last revision that the send queue was given, or that the watch resumes after."""
        self.live_after = NOT_BEGUN
        """How far the payment had come when the watch began: what comes after that happens while it watches."""
        self._emptied = -1
        self._queued_after = 0

    def start(self, revision: int, *, live_after: int) -> None:
        """Begin right after a revision; the payment has come to `live_after`."""
        self.live_after = live_after
        self.tail = self._queued_after = revision
        self._emptied = self.send_queue.emptied

    def needs_after(self, revision: int) -> int:
        """Return after which revision the history has to be read for a payment that has come to `revision`."""
        return max(self.tail, revision - 1) if self.latest_only else self.tail

    def wants(self, revision: int) -> bool:
        """Whether the watch lacks something of a payment that has come to `revision`, and has room for it.

        Without room, it is read for once there is.
        """
        if self.tail >= revision:
            return False
        if not self.has_room():
            self.send_queue.starved[self.topic] = None
            return False
        return True

    def has_room(self) -> bool:
        """Whether the send queue takes one more transition of this watch."""
        send_queue = self.send_queue
        if self._emptied != send_queue.emptied:  # nothing waits there any more
            self._emptied = send_queue.emptied
            self._queued_after = self.tail
        return not send_queue.is_full and (
            self.latest_only or self.tail - self._queued_after < send_queue.limits.queue_max
        )

    def offer(self, update: Update) -> None:
        """Take the next transition. Without room for it, it is read for this watch once there is."""
        if not self.has_room():
            self.send_queue.starved[self.topic] = None
            return
        self.tail = update.revision
        if update.revision > self.live_after:
            self.send_queue.carries(update.recorded_at)
        if self.latest_only:
            self.send_queue.replace(self, update.in_form(self.form))
        else:
            self.send_queue.put(update.in_form(self.form))
        if self.until_settled and update.settled:
            self.tail = NOT_BEGUN
            self.send_queue.finish()


class Topic:
    """The watches of one payment."""

    __slots__ = ("hinted", "open_month", "payment_id", "revision", "tenant_id", "watches")

    def __init__(self, tenant_id: str, payment_id: str) -> None:
        self.tenant_id = tenant_id
        self.payment_id = payment_id
        self.watches: tuple[Watch, ...] = ()
        """Never changed in place, so that watches may end while all are gone through."""
        self.open_month: date | None = None
        self.revision: int | None = None
        """How far the payment is known to be; None until the first watch has begun."""
        self.hinted = 0
        """The highest revision that was hinted at before that."""

    def deliver(self, update: Update) -> None:
        """Offer a transition to the watches that are right before it; the others are behind, and read for."""
        revision = update.revision
        if self.revision is None or self.revision < revision:
            self.revision = revision
        for watch in self.watches:
            if watch.tail == revision - 1 or (watch.latest_only and watch.tail < revision):
                watch.offer(update)

    def hint(self, revision: int) -> bool:
        """Take a hint that the payment has come to a revision; return whether the history has to be read for it."""
        if self.revision is None:  # its watches are about to begin
            self.hinted = max(self.hinted, revision)
            return False
        return revision > self.revision

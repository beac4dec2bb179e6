"""The server's side of `WatchMany` as the contract has it, over payments that live in memory. Pure.

It is written apart from the client: what the client makes of it is judged by this.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

import grpc

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import payment_pb2

OK, UNAVAILABLE = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE
STATES = (1, 2, 4, 5, 4, 7)
"""One payment's way, again and again: opened, asked, submitted, authenticated, submitted, paid."""
SETTLED = (7,)


def token(subject: str, *, role: str = "payer", number: int = 0, is_good: bool = True) -> str:
    """A token that names somebody; the higher its number, the later it expires."""
    claims = {"sub": subject, "tenant": "main", "roles": [role], "exp": 1_000 + number}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{body}.{'good' if is_good else 'forged'}"


def subject_of(text: str) -> str:
    """Who is named in a token."""
    body = text.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])


@dataclass
class History:
    """All payments: transitions by payment, oldest first. A payment named `pay_x` belongs to payer `x`."""

    transitions: dict[str, list[pb.Transition]] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    """Tokens that are not good any more."""

    def move(self, payment_id: str) -> pb.Transition:
        """Write the next revision of a payment; the first one opens it."""
        written = self.transitions.setdefault(payment_id, [])
        state = STATES[len(written) % len(STATES)]
        update = pb.Transition(
            payment_id=payment_id,
            revision=len(written) + 1,
            state=state,  # type: ignore[arg-type]
            settled=state in SETTLED,
            phase=pb.PHASE_COLLECTING,
            snapshot=payment_pb2.PaymentSnapshot(collection=state),  # type: ignore[arg-type]
            request_id=f"{payment_id} {len(written) + 1}",
        )
        written.append(update)
        return update

    def revision(self, payment_id: str) -> int:
        return len(self.transitions.get(payment_id, ()))

    def payment(self, payment_id: str) -> pb.Payment:
        last = self.transitions[payment_id][-1]
        return pb.Payment(
            payment_id=payment_id,
            revision=last.revision,
            state=last.state,
            settled=last.settled,
            phase=last.phase,
            snapshot=last.snapshot,
        )

    def refusal(self, payment_id: str, assertion: str) -> tuple[grpc.StatusCode, str]:
        """Why somebody may not see a payment; OK if they may."""
        if assertion and (assertion in self.expired or not assertion.endswith(".good")):
            return grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"
        is_theirs = not assertion or payment_id == f"pay_{subject_of(assertion)}" or subject_of(assertion) == "operator"
        if payment_id not in self.transitions or not is_theirs:
            return grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND"
        return OK, ""


@dataclass
class _Watch:
    sent: int
    latest_only: bool
    assertion: str


class ManyStream:
    """One stream: commands in, events out, in order."""

    def __init__(self, history: History, *, watches_max: int) -> None:
        self.events: deque[pb.WatchManyResponse.Event] = deque()
        self.watches: dict[str, _Watch] = {}
        self._history = history
        self._watches_max = watches_max

    def receive(self, request: pb.WatchManyRequest) -> None:
        assert 1 <= len(request.commands) <= 500
        for command in request.commands:
            match command.WhichOneof("command"):
                case "add":
                    self._add(command.add)
                case "drop":
                    if command.drop.payment_id in self.watches:
                        self.cancel(command.drop.payment_id, OK, "")
                case "renew":
                    self._renew(command.renew.assertion)

    def send(self, payment_id: str, *, at_most: int | None = None) -> None:
        """Send what a watch has not been told yet."""
        watch = self.watches.get(payment_id)
        if watch is None:
            return
        news = self._history.transitions[payment_id][watch.sent :][:at_most]
        for update in news[-1:] if watch.latest_only else news:
            self.events.append(pb.WatchManyResponse.Event(transition=update))
            watch.sent = update.revision

    def cancel(self, payment_id: str, code: grpc.StatusCode, reason: str, **metadata: str) -> None:
        """End a watch, or refuse to begin it."""
        watch = self.watches.pop(payment_id, None)
        canceled = pb.WatchManyResponse.Canceled(
            payment_id=payment_id,
            code=code.value[0],
            reason=reason,
            metadata=metadata,
            resume_after_revision=None if watch is None else watch.sent,
        )
        self.events.append(pb.WatchManyResponse.Event(canceled=canceled))

    def expire(self, assertion: str) -> None:
        """End the watches of a token."""
        for payment_id in [name for name, watch in self.watches.items() if watch.assertion == assertion]:
            self.cancel(payment_id, grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")

    def _add(self, add: pb.WatchManyRequest.Add) -> None:
        payment_id = add.payment_id
        if payment_id in self.watches:
            self.cancel(payment_id, OK, "")
        code, reason = self._history.refusal(payment_id, add.assertion)
        revision = self._history.revision(payment_id)
        if len(self.watches) >= self._watches_max:
            self.cancel(payment_id, grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHES")
        elif code is not OK:
            self.cancel(payment_id, code, reason)
        elif add.HasField("after_revision") and add.after_revision > revision:
            code = grpc.StatusCode.OUT_OF_RANGE
            self.cancel(payment_id, code, "REVISION_AHEAD", current_revision=str(revision))
        else:
            is_resumed = add.HasField("after_revision")
            created = pb.WatchManyResponse.Created(payment_id=payment_id, current_revision=revision)
            if not is_resumed:
                created.payment.CopyFrom(self._history.payment(payment_id))
            self.events.append(pb.WatchManyResponse.Event(created=created))
            sent = add.after_revision if is_resumed else revision
            self.watches[payment_id] = _Watch(sent, add.latest_only, add.assertion)

    def _renew(self, assertion: str) -> None:
        if assertion in self._history.expired or not assertion.endswith(".good"):
            return
        for payment_id, watch in list(self.watches.items()):
            if watch.assertion and subject_of(watch.assertion) == subject_of(assertion):
                watch.assertion = assertion
                if self._history.refusal(payment_id, assertion)[0] is not OK:
                    self.cancel(payment_id, grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")


def revisions(updates: Collection[pb.Transition]) -> list[int]:
    return [update.revision for update in updates]

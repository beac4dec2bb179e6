"""Following payments in memory: one, many, and a feed of all. Each asks what is ready, and errs if it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import grpc

from batzen.status.v1 import status_pb2 as pb
from tests.status.history.checker.feeds import matches
from tests.status.history.model.bugs import Bug
from tests.status.history.model.memory import Memory

AWAKE_FOR: Final = 5
"""Looks at a payment, before a watch is forgotten."""
READY_MAX: Final = 4
"""Transitions in one message."""
Relation = pb.WatchPaymentsResponse.Relation
Event = pb.WatchManyResponse.Event
REFUSED: Final = "OUT_OF_RANGE"


class Follower:
    """One watch of one payment."""

    def __init__(self, memory: Memory, payment_id: str, *, carried: int, latest_only: bool) -> None:
        self.carried = carried
        self._memory = memory
        self._payment_id = payment_id
        self._latest_only = latest_only
        self._told = len(memory.rumours)
        self._rounds = 0

    def stumble(self, skips: Bug, repeats: Bug | None = None) -> None:
        """Resume at the wrong place, if that is the bug."""
        is_behind = self.carried < self._memory.last(self._payment_id)
        if is_behind and not self._latest_only and self._memory.has(skips):
            self.carried += 1
        if repeats is not None and self.carried > 0 and self._memory.has(repeats):
            self.carried -= 1

    def is_settled(self) -> bool:
        return bool(self.carried) and self._memory.row(self._payment_id, self.carried).settled

    def ready(self, *, until_settled: bool = False) -> list[pb.Transition]:
        """Return what is to be sent next, nothing if all is."""
        memory, last = self._memory, self._memory.last(self._payment_id)
        self._rounds += 1
        revisions = list(range(self.carried + 1, last + 1))
        if self._rounds > AWAKE_FOR and revisions and memory.has(Bug.FALLS_ASLEEP):
            return []
        if self._latest_only or (len(revisions) > 2 and memory.has(Bug.DROPS_ON_OVERFLOW)):
            revisions = revisions[-1:]
        revisions = revisions[:READY_MAX]
        settled = [one for one in revisions if until_settled and memory.row(self._payment_id, one).settled]
        if settled and not memory.has(Bug.NEVER_ENDS):
            revisions = [one for one in revisions if one <= settled[0]]
        if not revisions:
            return self._rumours()
        self.carried = revisions[-1]
        return [self._sent(revision) for revision in self._mixed_up(revisions)]

    def _mixed_up(self, revisions: list[int]) -> list[int]:
        memory = self._memory
        if len(revisions) > 1 and memory.has(Bug.WRONG_ORDER):
            return revisions[::-1]
        if memory.has(Bug.REPEATS, 0.1):
            return [*revisions, revisions[-1]]
        if self._latest_only and revisions[-1] > 1 and memory.has(Bug.GOES_BACK):
            return [*revisions, revisions[-1] - 1]
        return revisions

    def _sent(self, revision: int) -> pb.Transition:
        memory = self._memory
        transition = memory.transition(self._payment_id, revision)
        if revision > 1 and memory.has(Bug.OLD_CONTENT, 0.1):
            transition.snapshot.CopyFrom(memory.transition(self._payment_id, revision - 1).snapshot)
        if memory.has(Bug.CROSSED, 0.1):
            transition.payment_id = memory.chance.choice([one for one in memory.kept if one != self._payment_id])
        return transition

    def _rumours(self) -> list[pb.Transition]:
        told, self._told = self._told, len(self._memory.rumours)
        heard = [
            (revision, transition)
            for payment_id, revision, transition in self._memory.rumours[told:]
            if payment_id == self._payment_id and revision == self.carried + 1
        ]
        if not heard or not self._memory.has(Bug.HINT_AS_TRUTH):
            return []
        self.carried = heard[0][0]
        return [heard[0][1]]


class Many:
    """The watches of one WatchMany."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._followers: dict[str, Follower] = {}
        self._left: dict[str, Follower] = {}
        self._answers: list[Event] = []
        self._adds = 0

    async def read(self, messages: AsyncIterator[pb.WatchManyRequest]) -> None:
        """Carry out what is asked, until the caller has said everything."""
        async for message in messages:
            for command in message.commands:
                if command.WhichOneof("command") == "add":
                    self._add(command.add)
                else:
                    self._drop(command.drop.payment_id)
            self._memory.ring()

    def ready(self) -> list[Event]:
        """Return what is to be sent next, nothing if all is."""
        events, self._answers = self._answers, []
        for follower in self._followers.values():
            events += [Event(transition=transition) for transition in follower.ready()]
        for payment_id in self._left.keys() - self._followers.keys():
            more = self._left[payment_id].ready()
            if more and self._memory.has(Bug.SENDS_AFTER_CANCEL):
                events += [Event(transition=transition) for transition in more]
        return events

    def _add(self, add: pb.WatchManyRequest.Add) -> None:
        memory, payment_id = self._memory, add.payment_id
        self._drop(payment_id)
        self._adds += 1
        after = add.after_revision if add.HasField("after_revision") else None
        current = memory.last(payment_id)
        if self._adds % 7 == 0 and memory.has(Bug.ADD_UNANSWERED):
            return
        if after is not None and after > current:
            self._answers.append(_canceled(payment_id, REFUSED, "REVISION_AHEAD", current_revision=current))
            return
        created = pb.WatchManyResponse.Created(
            payment_id=payment_id,
            current_revision=current,
            payment=memory.payment(payment_id, current) if after is None else None,
        )
        self._answers += [Event(created=created)] * (1 + memory.has(Bug.CREATED_TWICE, 0.2))
        follower = Follower(
            memory, payment_id, carried=current if after is None else after, latest_only=add.latest_only
        )
        if after is not None:
            follower.stumble(Bug.MANY_SKIPS)
        self._followers[payment_id] = follower

    def _drop(self, payment_id: str) -> None:
        follower = self._followers.pop(payment_id, None)
        if follower is None:
            return
        self._left[payment_id] = follower
        if self._memory.has(Bug.DROP_UNANSWERED):
            return
        resume = follower.carried + self._memory.has(Bug.CANCEL_AHEAD)
        self._answers.append(_canceled(payment_id, "OK", "", resume=resume))


def _canceled(
    payment_id: str, code: str, reason: str, *, resume: int | None = None, current_revision: int | None = None
) -> Event:
    canceled = pb.WatchManyResponse.Canceled(
        payment_id=payment_id,
        code=grpc.StatusCode[code].value[0],
        reason=reason,
        resume_after_revision=resume,
        metadata={} if current_revision is None else {"current_revision": str(current_revision)},
    )
    return Event(canceled=canceled)


class Feed:
    """One feed: transactions below the horizon, in their order. Each wrote one transition: its number is a cursor."""

    def __init__(self, memory: Memory, feed_filter: pb.PaymentFilter, cursor: str) -> None:
        self._memory = memory
        self._filter = feed_filter
        self.after = int(cursor) if cursor and not memory.has(Bug.CURSOR_LOST) else self._end() - 1
        if cursor and memory.has(Bug.CURSOR_AHEAD):
            self.after += 2
        if not cursor and memory.has(Bug.FEED_FROM_THE_START):
            self.after = 0

    @property
    def cursor(self) -> str:
        return str(self.after)

    def ready(self) -> list[pb.WatchPaymentsResponse.Change]:
        """Return what is to be sent next, nothing if nothing matches."""
        end = self._end()
        due = sorted(entry for entry in self._memory.log if self.after < entry[0] < end)[: 2 * READY_MAX]
        self.after = due[-1][0] if due else max(self.after, end - 1)
        changes = [change for _, payment_id, revision in due for change in self._changes(payment_id, revision)]
        payments = {change.payment.payment_id for change in changes}
        if len(payments) < len(changes) and self._memory.has(Bug.FEED_WRONG_ORDER):
            changes.reverse()
        return changes

    def _end(self) -> int:
        memory = self._memory
        newest = max((xid for xid, _, _ in memory.log), default=0) + 1
        horizon = memory.horizon()
        return newest if newest > horizon and memory.has(Bug.FEED_BY_SEQUENCE) else horizon

    def _changes(self, payment_id: str, revision: int) -> list[pb.WatchPaymentsResponse.Change]:
        memory = self._memory
        now = self._matches(payment_id, revision)
        before = revision > 1 and self._matches(payment_id, revision - 1)
        now = now or memory.has(Bug.FEED_OUTSIDE, 0.3)
        if not (now or before) or (not now and memory.has(Bug.LEAVES_SILENTLY)):
            return []
        relation = Relation.RELATION_LEFT if not now else Relation.RELATION_ENTERED
        if now and (before or memory.has(Bug.ALWAYS_INSIDE)):
            relation = Relation.RELATION_INSIDE
        last = memory.last(payment_id)
        carried = last if last > revision and memory.has(Bug.FEED_OLD_CONTENT) else revision
        payment = memory.payment(payment_id, carried)
        payment.revision = revision
        change = pb.WatchPaymentsResponse.Change(payment=payment, relation=relation)
        return [change] * (1 + memory.has(Bug.FEED_REPEATS, 0.2))

    def _matches(self, payment_id: str, revision: int) -> bool:
        return matches(self._filter, self._memory.kept[payment_id].opened, self._memory.row(payment_id, revision))

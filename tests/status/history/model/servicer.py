"""A status in memory that keeps the contract, or breaks it in one way: what a checker is checked with.

It has no replicas and no database, but it ends streams as a draining replica does, gathers what is ready, and commits
some transitions late, so that everything a checker has to judge happens within a second.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceServicer
from tests.status.history.checker.feeds import matches
from tests.status.history.harness.writers import opening_snapshot
from tests.status.history.model.bugs import Bug
from tests.status.history.model.following import Feed, Follower, Many
from tests.status.history.model.memory import Kept, Memory
from tests.status.history.reports import now_us
from tests.status.history.stored import collection_of

DRAINS_EVERY: Final = 25
"""One in so many messages of a kind of stream is the last of its stream."""
STALE_US: Final = 1_000_000
"""What is over for so long is known to be, on a busy machine too."""
WRITE_S: Final = 0.004
"""At most so long does a write take, and others come between."""
COMMIT_S: Final = 0.005
"""How long a commit takes if others see it before."""


class Model(StatusServiceServicer):
    """The status of one tenant."""

    def __init__(self, memory: Memory) -> None:
        self.is_draining = True
        """Streams end now and then."""
        self._memory = memory
        self._chance: random.Random = memory.chance
        self._sent: Counter[str] = Counter()

    async def OpenPayment(self, request: pb.OpenPaymentRequest, context: Any) -> pb.OpenPaymentResponse:
        if request.payment_id not in self._memory.kept:
            opened = pb.Payment(
                payment_id=request.payment_id,
                payer_id=request.payer_id,
                seller_ids=request.seller_ids,
                booking_ids=request.booking_ids,
                client_reference=request.client_reference,
                quote_id=request.quote_id,
                total=request.total,
            )
            self._memory.kept[request.payment_id] = Kept(opened=opened)
            self._memory.commit(self._memory.begin(), request.payment_id, opening_snapshot(), request.request_id)
        return pb.OpenPaymentResponse(payment=self._memory.payment(request.payment_id))

    async def GetPayment(self, request: pb.GetPaymentRequest, context: Any) -> pb.GetPaymentResponse:
        last = self._memory.last(request.payment_id)
        stale = self._stale(request.payment_id)
        revision = stale if stale >= 1 and self._memory.has(Bug.STALE_READING) else last
        return pb.GetPaymentResponse(payment=self._memory.payment(request.payment_id, revision))

    async def RecordTransition(self, request: pb.RecordTransitionRequest, context: Any) -> pb.RecordTransitionResponse:
        memory, payment_id = self._memory, request.payment_id
        await asyncio.sleep(self._chance.random() * WRITE_S)
        rows = memory.kept[payment_id].rows
        written = next((row["revision"] for row in rows if row["request_id"] == request.request_id), None)
        current = len(rows)
        if written is not None and not memory.has(Bug.REPEAT_WRITES):
            if memory.has(Bug.REPEAT_CONFLICTS):
                await self._conflict(context, current)
            is_newest = written == current or memory.has(Bug.REPEAT_GETS_NEWEST)
            return self._answer(payment_id, current if is_newest else written)
        if current != request.expected_revision and written is None:
            if current == request.expected_revision + 1 and memory.has(Bug.LOST_UPDATE, 0.5):
                rows.pop()
                memory.log.pop()
            else:
                self._rumour(request, current + 1)
                behind = 2 * (current > 2 and memory.has(Bug.CONFLICT_STALE))
                await self._conflict(context, current - behind + memory.has(Bug.CONFLICT_AHEAD))
        origin = collection_of(rows[-1]["snapshot"])
        if collection_of(request.snapshot) == "INITIALIZED" != origin:
            await _abort(context, "FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
        if memory.has(Bug.ONLY_ACKNOWLEDGED, 0.1):
            return self._answer(payment_id, len(rows))
        memory.commit(memory.begin(), payment_id, request.snapshot, request.request_id)
        if memory.has(Bug.BEFORE_COMMIT):
            row = rows[-1]
            await asyncio.sleep(COMMIT_S)
            row["committed_us"] = now_us()
            return self._answer(payment_id, row["revision"])
        return self._answer(payment_id, len(rows))

    async def ListPayments(self, request: pb.ListPaymentsRequest, context: Any) -> pb.ListPaymentsResponse:
        memory = self._memory
        payments = [
            memory.payment(payment_id)
            for payment_id, kept in memory.kept.items()
            if matches(request.filter, kept.opened, memory.row(payment_id, memory.last(payment_id)))
        ]
        return pb.ListPaymentsResponse(payments=payments, cursor=str(memory.horizon() - 1))

    async def WatchPayment(
        self, request: pb.WatchPaymentRequest, context: Any
    ) -> AsyncIterator[pb.WatchPaymentResponse]:
        memory, payment_id = self._memory, request.payment_id
        after = request.after_revision if request.HasField("after_revision") else None
        current = memory.last(payment_id)
        if after is not None and (after > current or memory.has(Bug.REVISION_AHEAD, 0.5)):
            await _abort(context, "OUT_OF_RANGE", "REVISION_AHEAD", current_revision=current)
        stale = self._stale(payment_id)
        if stale >= max(1, after or 0) and memory.has(Bug.STALE_HEADER):
            current = stale
        told = current + memory.has(Bug.HEADER_AHEAD)
        payment = memory.payment(payment_id, current) if after is None else None
        yield pb.WatchPaymentResponse(header=pb.WatchPaymentResponse.Header(current_revision=told, payment=payment))
        follower = Follower(
            memory, payment_id, carried=current if after is None else after, latest_only=request.latest_only
        )
        if after is not None:
            follower.stumble(Bug.SKIPS_ON_RESUME, Bug.REPEATS_ON_RESUME)
        async for message in self._follow(follower, context, until_settled=bool(request.close_when)):
            yield message

    async def _follow(
        self, follower: Follower, context: Any, *, until_settled: bool
    ) -> AsyncIterator[pb.WatchPaymentResponse]:
        memory, begin = self._memory, follower.carried
        if until_settled and not follower.is_settled() and memory.has(Bug.ENDS_UNSETTLED):
            return
        while True:
            transitions = follower.ready(until_settled=until_settled)
            if transitions:
                yield pb.WatchPaymentResponse(updates=pb.WatchPaymentResponse.Updates(transitions=transitions))
            if until_settled and follower.is_settled() and memory.bug is not Bug.NEVER_ENDS:
                return
            if self._drains("one", transitions):
                resume = begin - 1 if memory.has(Bug.RESUME_BEHIND) else follower.carried
                resume += memory.has(Bug.RESUME_AHEAD)
                await _abort(context, "UNAVAILABLE", "SHUTTING_DOWN", resume_after_revision=resume)
            if not transitions and not await memory.rung():
                revision = follower.carried + memory.has(Bug.HEARTBEAT_AHEAD)
                yield pb.WatchPaymentResponse(heartbeat=pb.WatchPaymentResponse.Heartbeat(revision=revision))

    async def WatchMany(
        self, commands: AsyncIterator[pb.WatchManyRequest], context: Any
    ) -> AsyncIterator[pb.WatchManyResponse]:
        many = Many(self._memory)
        reading = asyncio.ensure_future(many.read(commands))
        try:
            while True:
                events = many.ready()
                if events:
                    yield pb.WatchManyResponse(events=events)
                if self._drains("many", events):
                    await _abort(context, "UNAVAILABLE", "SHUTTING_DOWN")
                if not events and not await self._memory.rung():
                    alive = pb.WatchManyResponse.Event(heartbeat=pb.WatchManyResponse.Heartbeat())
                    yield pb.WatchManyResponse(events=[alive])
        finally:
            reading.cancel()

    async def WatchPayments(
        self, request: pb.WatchPaymentsRequest, context: Any
    ) -> AsyncIterator[pb.WatchPaymentsResponse]:
        memory = self._memory
        feed = Feed(memory, request.filter, request.cursor)
        end = memory.horizon()
        if request.close_when and feed.after < end - 1 and memory.has(Bug.CAUGHT_UP_EARLY):
            end = 0
        yield pb.WatchPaymentsResponse(cursor=feed.cursor)
        while True:
            if request.close_when and feed.after >= end - 1:
                return
            changes = feed.ready()
            if changes:
                yield pb.WatchPaymentsResponse(changes=changes, cursor=feed.cursor)
            if self._drains("feed", changes):
                await _abort(context, "UNAVAILABLE", "SHUTTING_DOWN")
            if not changes and not request.close_when and not await memory.rung():
                yield pb.WatchPaymentsResponse(cursor=feed.cursor)
            await asyncio.sleep(0)

    def _drains(self, kind: str, sent: Any) -> bool:
        if not sent or not self.is_draining:
            return False
        self._sent[kind] += 1
        return self._sent[kind] % DRAINS_EVERY == 0

    def _stale(self, payment_id: str) -> int:
        """Return the last revision that is over since a while; 0 if none is."""
        until_us = now_us() - STALE_US
        return sum(row["committed_us"] < until_us for row in self._memory.kept[payment_id].rows[1:])

    def _answer(self, payment_id: str, revision: int) -> pb.RecordTransitionResponse:
        return pb.RecordTransitionResponse(
            transition=self._memory.transition(payment_id, revision), payment=self._memory.payment(payment_id)
        )

    def _rumour(self, request: pb.RecordTransitionRequest, revision: int) -> None:
        transition = self._memory.transition(request.payment_id, revision - 1)
        transition.revision, transition.request_id = revision, request.request_id
        transition.snapshot.CopyFrom(request.snapshot)
        self._memory.rumours.append((request.payment_id, revision, transition))
        self._memory.ring()

    async def _conflict(self, context: Any, current: int) -> NoReturn:
        await _abort(context, "ABORTED", "REVISION_CONFLICT", current_revision=current)


async def _abort(context: Any, code: str, reason: str, **metadata: int) -> NoReturn:
    info = error_details_pb2.ErrorInfo(
        reason=reason, domain="batzen", metadata={name: str(value) for name, value in metadata.items()}
    )
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=grpc.StatusCode[code].value[0], message=reason, details=[detail])
    await context.abort(
        grpc.StatusCode[code], reason, trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),)
    )
    raise AssertionError("abort raises")

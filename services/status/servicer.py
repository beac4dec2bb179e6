"""The RPCs of status: each reads its request, calls store, list, hub or log, and answers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from batzen.status.v1 import status_pb2 as pb
from services.errors import FieldInvalid, ServiceError
from services.runtime.rpc.access import Access
from services.runtime.rpc.call_context import current_access, current_caller, current_tenant
from services.runtime.rpc.identity import Caller
from services.shared import fields
from services.shared.paging import position_in, token_for
from services.status.changes.cursors import ONLY, cursor_of, positions_of
from services.status.changes.followers import Follower, Followers
from services.status.changes.log import ChangeLog, begin_of
from services.status.domain.errors import PageTokenInvalid, PaymentNotFound
from services.status.domain.filters import Filter
from services.status.domain.records import Payment, open_month
from services.status.domain.snapshot import is_settled
from services.status.import_rpcs import ImportRpcs
from services.status.imports.store import ImportStore
from services.status.listing.listing import PaymentList
from services.status.storage.store import Place, StatusStore
from services.status.transitions.recorder import Move, Recorder, just_recorded
from services.status.watches.hub import WatchHub
from services.status.watches.many import Identify, ManyWatches
from services.status.watches.send_queue import SendQueue, send_all
from services.status.watches.single import OneWatch
from services.status.watches.watch import Update, Watch
from services.status.wire import requests
from services.status.wire.responses import (
    MANY_HEARTBEAT,
    joined_updates,
    opened_response,
    payment_message,
    recorded_response,
    transition_message,
    watch_header,
    watch_update,
)

if TYPE_CHECKING:
    from grpc import aio

    Context = aio.ServicerContext[Any, Any]

TRANSITIONS_DEFAULT: Final = 100
TRANSITIONS_MAX: Final = 500
PAYMENTS_DEFAULT: Final = 50
PAYMENTS_MAX: Final = 200
COMMANDS_AT_ONCE: Final = 100
"""Of a WatchMany, before it is seen whether its caller reads; each may be answered with a payment of ~25 KB."""
REVISIONS_END: Final = 2**63


class StatusServicer(ImportRpcs):
    """Implements batzen.status.v1.StatusService."""

    def __init__(
        self,
        *,
        store: StatusStore,
        recorder: Recorder,
        imports: ImportStore,
        payments: PaymentList,
        log: ChangeLog,
        hub: WatchHub,
        followers: Followers,
        verify: Callable[[str], Awaitable[Caller]],
        reach: Callable[[Caller], Access],
        now: Callable[[], datetime],
    ) -> None:
        """`verify` tells of whom an assertion is, `reach` how far they may watch."""
        super().__init__(imports, moved=self._written, now=now)
        self._store = store
        self._recorder = recorder
        self._payments = payments
        self._log = log
        self.hub = hub
        """Every watch of the process."""
        self._followers = followers
        self._verify = verify
        self._reach = reach
        self._now = now

    async def OpenPayment(self, request: pb.OpenPaymentRequest, context: Context) -> pb.OpenPaymentResponse:
        tenant_id, now = current_tenant(), self._now()
        opening, request_id = requests.opening_of(request), requests.request_id_of(request)
        first = requests.first_transition_of(request) if request.HasField("first_transition") else None
        opened = await self._store.open(opening, tenant_id=tenant_id, request_id=request_id, now=now, first=first)
        if opened.is_new:
            self.hub.metrics.opened(tenant_id, opened.payment)
        payment, transition = opened.payment, None
        if first is not None:
            move = Move(
                tenant_id=tenant_id,
                payment_id=opening.payment_id,
                request_id=first.request_id,
                expected_revision=1,
                snapshot=first.snapshot,
                now=now,
            )
            with requests.within("first_transition"):
                recorded = just_recorded(payment, move) if opened.is_new else await self._recorder.record(move)
            payment, transition = recorded.payment, recorded.transition
        self._written(tenant_id, opening.payment_id)  # nobody watches it yet, but feeds do
        return opened_response(payment, transition)

    async def RecordTransition(
        self, request: pb.RecordTransitionRequest, context: Context
    ) -> pb.RecordTransitionResponse:
        move = Move(
            tenant_id=current_tenant(),
            payment_id=fields.payment_id(request.payment_id),
            request_id=requests.request_id_of(request),
            expected_revision=requests.revision(request.expected_revision, field="expected_revision", at_least=1),
            snapshot=requests.snapshot_of(request),
            now=self._now(),
        )
        recorded = await self._recorder.record(move)
        response = recorded_response(recorded.payment, recorded.transition)
        if recorded.is_new:
            written = response.transition
            update = Update(
                written.payment_id,
                written.revision,
                settled=written.settled,
                serialized=written.SerializeToString(),
                recorded_at=recorded.transition.record_time.timestamp(),
            )
            self.hub.publish(move.tenant_id, update)
        else:  # the call that wrote it may not have published it
            self.hub.moved(move.tenant_id, move.payment_id)
        self._followers.wake(move.tenant_id)
        return response

    def _written(self, tenant_id: str, payment_id: str) -> None:
        self.hub.moved(tenant_id, payment_id)
        self._followers.wake(tenant_id)

    async def SetPaymentLabels(
        self, request: pb.SetPaymentLabelsRequest, context: Context
    ) -> pb.SetPaymentLabelsResponse:
        requests.request_id_of(request)
        payment = await self._payments.set_labels(
            fields.payment_id(request.payment_id),
            tenant_id=current_tenant(),
            labels=fields.labels(request.labels),
            booking_ids=requests.links(request.booking_ids, field="booking_ids"),
        )
        return pb.SetPaymentLabelsResponse(payment=payment_message(payment))

    async def GetPayment(self, request: pb.GetPaymentRequest, context: Context) -> pb.GetPaymentResponse:
        return pb.GetPaymentResponse(payment=payment_message(await self._read(fields.payment_id(request.payment_id))))

    async def ListTransitions(self, request: pb.ListTransitionsRequest, context: Context) -> pb.ListTransitionsResponse:
        size = fields.page_size(request.page_size, default=TRANSITIONS_DEFAULT, at_most=TRANSITIONS_MAX)
        revision = requests.revision(request.after_revision, field="after_revision", at_least=0)
        payment_id = fields.payment_id(request.payment_id)
        walk = f"transitions {current_tenant()} {payment_id} {revision}"
        if request.page_token:
            revision = position_in(request.page_token, walk=walk, parse=_revision, invalid=PageTokenInvalid)
        payment = await self._read(payment_id)
        transitions = await self._store.history(
            _place(payment, revision=revision), current_revision=payment.revision, limit=size + 1
        )
        page = transitions[:size]
        return pb.ListTransitionsResponse(
            transitions=map(transition_message, page),
            next_page_token=token_for(str(page[-1].revision), walk=walk) if len(transitions) > size else "",
        )

    async def ListPayments(self, request: pb.ListPaymentsRequest, context: Context) -> pb.ListPaymentsResponse:
        wanted = _filter(request.filter)
        size = fields.page_size(request.page_size, default=PAYMENTS_DEFAULT, at_most=PAYMENTS_MAX)
        cursor = ""
        if not request.page_token:  # before the list is read: what happens in between then comes twice, not never
            head = await self._log.head(wanted.tenant_id)
            cursor = cursor_of({ONLY: head.position}, tenant_id=wanted.tenant_id)
        page, next_page_token = await self._payments.page(wanted, size=size, token=request.page_token)
        return pb.ListPaymentsResponse(
            payments=map(payment_message, page), next_page_token=next_page_token, cursor=cursor
        )

    # The streams write to the context instead of yielding: a generator would be closed in another task, at some later
    # time. They write bytes, since what goes to many was serialised once.

    async def WatchPayment(self, request: pb.WatchPaymentRequest, context: Context) -> None:  # type: ignore[override]
        after_revision, began = None, time.perf_counter()
        if request.HasField("after_revision"):
            after_revision = requests.revision(request.after_revision, field="after_revision", at_least=0)
        one = OneWatch(context.write)
        send_queue = self.hub.open_stream(heartbeat=one.heartbeat, ended=one.ended, joined=joined_updates)
        try:
            watch = self.hub.add(
                current_tenant(),
                fields.payment_id(request.payment_id),
                send_queue=send_queue,
                form=watch_update,
                cancel=one.cancel,
                latest_only=request.latest_only,
                until_settled=_closes(request, pb.WatchPaymentRequest.CLOSE_WHEN_SETTLED),
            )
            del request  # nothing of a stream's beginning is kept: it may last, and has many like it
            try:
                await self._begin(one, watch, after_revision=after_revision)
                self.hub.metrics.began(seconds=time.perf_counter() - began)
                await send_all(send_queue, one.write)
            finally:
                self.hub.drop(watch)
        finally:
            self.hub.close_stream(send_queue)

    async def WatchMany(  # type: ignore[override]
        self, request_iterator: AsyncIterator[pb.WatchManyRequest], context: Context
    ) -> None:
        many = ManyWatches(
            hub=self.hub,
            store=self._store,
            identify=Identify(verify=self._verify, reach=self._reach, tenant_id=current_tenant()),
            caller=current_caller(),
            access=current_access(),
            now=self._now,
        )
        send_queue = self.hub.open_stream(heartbeat=lambda: MANY_HEARTBEAT, ended=_ended, on_tick=many.expire)
        try:
            many.begin(send_queue)
            await send_all(send_queue, context.write, beside=_carry_out(many, request_iterator, send_queue))
        finally:
            many.close()
            self.hub.close_stream(send_queue)

    async def WatchPayments(self, request: pb.WatchPaymentsRequest, context: Context) -> None:  # type: ignore[override]
        wanted = _filter(request.filter)
        closes = _closes(request, pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP)
        head = await self._log.head(wanted.tenant_id)
        begin = head.position
        if request.cursor:
            begin = begin_of(positions_of(request.cursor, tenant_id=wanted.tenant_id), head)
        follower = Follower(
            self._followers, log=self._log, wanted=wanted, position=begin, until=head if closes else None
        )
        send_queue = self.hub.open_stream(heartbeat=follower.heartbeat, ended=_ended)
        try:
            await send_all(send_queue, context.write, beside=follower.run(send_queue))
        finally:
            self.hub.close_stream(send_queue)

    async def _begin(self, one: OneWatch, watch: Watch, *, after_revision: int | None) -> None:
        """Begin a watch with its payment, which is kept no longer than that: a stream may last."""
        payment = await self._read(watch.topic.payment_id)
        self.hub.begin(watch, payment, after_revision=after_revision)
        one.begin(watch)
        watch.send_queue.put(watch_header(payment, with_payment=after_revision is None))
        if watch.until_settled and watch.tail == payment.revision and is_settled(payment.snapshot):
            watch.send_queue.finish()

    async def _read(self, payment_id: str) -> Payment:
        """Return a payment of the caller's tenant, and of the caller's own if it may see no other."""
        payment = await self._store.read(payment_id, tenant_id=current_tenant())
        access = current_access()
        if access.own_only and not payment.belongs_to(current_caller().subject, roles=access.own_as):
            raise PaymentNotFound
        return payment


def _revision(position: str) -> int:
    revision = int(position)
    if not 0 < revision < REVISIONS_END:
        raise ValueError("no revision")
    return revision


def _place(payment: Payment, *, revision: int) -> Place:
    return Place(
        tenant_id=current_tenant(),
        payment_id=payment.opening.payment_id,
        open_month=open_month(payment.open_time),
        revision=revision,
    )


def _filter(message: pb.PaymentFilter) -> Filter:
    """Return the filter, narrowed to what the caller may see."""
    return requests.filter_of(
        message, tenant_id=current_tenant(), own_of=current_caller().subject, own_as=current_access().own_as
    )


def _closes(request: pb.WatchPaymentRequest | pb.WatchPaymentsRequest, way: int) -> bool:
    """Return whether the stream ends in the one way that there is for it to end by itself."""
    if request.close_when not in (0, way):
        raise FieldInvalid(field="close_when", detail=fields.one_of(request.CloseWhen.items(), (0, way)))
    return request.close_when == way


def _ended(reason: type[ServiceError]) -> ServiceError:
    return reason()


async def _carry_out(many: ManyWatches, messages: AsyncIterator[pb.WatchManyRequest], send_queue: SendQueue) -> None:
    """Do what the caller says while it reads what comes of it; its watches go on after the last command."""
    async for message in messages:
        commands = requests.commands_of(message)
        for first in range(0, len(commands), COMMANDS_AT_ONCE):
            await send_queue.room()
            await many.carry_out(commands[first : first + COMMANDS_AT_ONCE])

"""The gRPC face of the service: reads the request, asks store, list or feed, writes the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceServicer
from services.errors import FieldInvalid
from services.runtime.calls import current_access, current_caller, current_tenant
from services.status import requests
from services.status.domain import Cause, PaymentNotFound, Snapshot, State, is_settled
from services.status.feed import Feed
from services.status.listing import Filter, PaymentList
from services.status.paging import position_in, token_for
from services.status.records import Payment, open_month
from services.status.responses import joined_updates, payment_message, transition_message
from services.status.store import Place, StatusStore
from services.status.watch import Update

if TYPE_CHECKING:
    from grpc import aio

    Context = aio.ServicerContext[Any, Any]

TRANSITIONS_DEFAULT: Final = 100
TRANSITIONS_MAX: Final = 500
PAYMENTS_DEFAULT: Final = 50
PAYMENTS_MAX: Final = 200
REVISIONS_END: Final = 2**63

_CLOSE_WHEN: Final = frozenset(pb.WatchPaymentRequest.CloseWhen.values())
_OPENED: Final = Snapshot(collection=State.INITIALIZED, cause=Cause.STEP)


class StatusServicer(StatusServiceServicer):
    """Implements batzen.status.v1.StatusService but for WatchPayments and WatchMany."""

    def __init__(
        self,
        *,
        store: StatusStore,
        payments: PaymentList,
        feed: Feed[pb.WatchPaymentResponse],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._payments = payments
        self._feed = feed
        self._now = now

    async def OpenPayment(self, request: pb.OpenPaymentRequest, context: Context) -> pb.OpenPaymentResponse:
        payment = await self._store.open(
            requests.opening_of(request),
            tenant_id=current_tenant(),
            request_id=requests.request_id_of(request),
            snapshot=_OPENED,
            now=self._now(),
        )
        return pb.OpenPaymentResponse(payment=payment_message(payment))

    async def RecordTransition(
        self, request: pb.RecordTransitionRequest, context: Context
    ) -> pb.RecordTransitionResponse:
        tenant_id = current_tenant()
        recorded = await self._store.record(
            requests.snapshot_of(request),
            tenant_id=tenant_id,
            payment_id=requests.payment_id_of(request),
            request_id=requests.request_id_of(request),
            expected_revision=requests.revision(request.expected_revision, field="expected_revision", at_least=1),
            now=self._now(),
        )
        if recorded.is_new:
            self._feed.publish(tenant_id, recorded.transition)
        return pb.RecordTransitionResponse(
            transition=transition_message(recorded.transition), payment=payment_message(recorded.payment)
        )

    async def SetPaymentLabels(
        self, request: pb.SetPaymentLabelsRequest, context: Context
    ) -> pb.SetPaymentLabelsResponse:
        requests.request_id_of(request)
        payment = await self._payments.set_labels(
            requests.payment_id_of(request),
            tenant_id=current_tenant(),
            labels=requests.labels_of(request.labels),
            booking_ids=requests.links(request.booking_ids, field="booking_ids"),
        )
        return pb.SetPaymentLabelsResponse(payment=payment_message(payment))

    async def GetPayment(self, request: pb.GetPaymentRequest, context: Context) -> pb.GetPaymentResponse:
        return pb.GetPaymentResponse(payment=payment_message(await self._read(requests.payment_id_of(request))))

    async def ListTransitions(self, request: pb.ListTransitionsRequest, context: Context) -> pb.ListTransitionsResponse:
        size = requests.page_size(request.page_size, default=TRANSITIONS_DEFAULT, at_most=TRANSITIONS_MAX)
        revision = requests.revision(request.after_revision, field="after_revision", at_least=0)
        payment_id = requests.payment_id_of(request)
        walk = f"transitions {current_tenant()} {payment_id} {revision}"
        if request.page_token:
            revision = position_in(request.page_token, walk=walk, parse=_revision)
        payment = await self._read(payment_id)
        transitions = await self._store.history(_place(payment, revision=revision), limit=size + 1)
        page = transitions[:size]
        return pb.ListTransitionsResponse(
            transitions=map(transition_message, page),
            next_page_token=token_for(str(page[-1].revision), walk=walk) if len(transitions) > size else "",
        )

    async def ListPayments(self, request: pb.ListPaymentsRequest, context: Context) -> pb.ListPaymentsResponse:
        access = current_access()
        wanted = Filter(
            tenant_id=current_tenant(),
            payer_id=requests.text(request.filter.payer_id, field="filter.payer_id"),
            seller_id=requests.text(request.filter.seller_id, field="filter.seller_id"),
            booking_id=requests.text(request.filter.booking_id, field="filter.booking_id"),
            client_reference=requests.text(request.filter.client_reference, field="filter.client_reference"),
            states=requests.states_of(request.filter.states),
            unsettled_only=request.filter.unsettled_only,
            own_of=current_caller().subject if access.own_only else "",
            own_as=tuple(sorted(access.own_as)),
        )
        size = requests.page_size(request.page_size, default=PAYMENTS_DEFAULT, at_most=PAYMENTS_MAX)
        page, next_page_token = await self._payments.page(wanted, size=size, token=request.page_token)
        return pb.ListPaymentsResponse(payments=map(payment_message, page), next_page_token=next_page_token)

    async def WatchPayment(self, request: pb.WatchPaymentRequest, context: Context) -> None:  # type: ignore[override]
        """Write to the context instead of yielding: a generator would be closed in another task, at some later time."""
        payment_id = requests.payment_id_of(request)
        after_revision = None
        if request.HasField("after_revision"):
            after_revision = requests.revision(request.after_revision, field="after_revision", at_least=0)
        ends_settled = _ends_settled(request)
        async with self._feed.watch(current_tenant(), payment_id, latest_only=request.latest_only) as watch:
            payment = await self._read(payment_id)
            watch.begin(payment, after_revision=after_revision)
            await context.write(_header(payment, with_payment=after_revision is None))
            if ends_settled and watch.sent == payment.revision and is_settled(payment.snapshot):
                return
            while True:
                updates = await watch.next()
                if ends_settled:
                    updates = _until_settled(updates)
                if updates:
                    await context.write(joined_updates([update.message for update in updates]))
                    watch.wrote(updates[-1].revision)
                    if ends_settled and updates[-1].settled:
                        return
                else:
                    await context.write(_heartbeat(watch.sent))
                    watch.wrote(watch.sent)

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


def _ends_settled(request: pb.WatchPaymentRequest) -> bool:
    if request.close_when not in _CLOSE_WHEN:
        raise FieldInvalid(field="close_when", detail="It is no way to end a watch.")
    return request.close_when == pb.WatchPaymentRequest.CLOSE_WHEN_SETTLED


def _until_settled(updates: list[Update[pb.WatchPaymentResponse]]) -> list[Update[pb.WatchPaymentResponse]]:
    """Return the updates up to the first that is settled."""
    for index, update in enumerate(updates):
        if update.settled:
            return updates[: index + 1]
    return updates


def _header(payment: Payment, *, with_payment: bool) -> pb.WatchPaymentResponse:
    header = pb.WatchPaymentResponse.Header(current_revision=payment.revision)
    if with_payment:
        header.payment.CopyFrom(payment_message(payment))
    return pb.WatchPaymentResponse(header=header)


def _heartbeat(revision: int) -> pb.WatchPaymentResponse:
    return pb.WatchPaymentResponse(heartbeat=pb.WatchPaymentResponse.Heartbeat(revision=revision))

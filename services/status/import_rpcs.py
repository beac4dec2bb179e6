"""The RPC by which the orchestrator has payments taken over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceServicer
from services.errors import FieldInvalid, ServiceError
from services.runtime.rpc.call_context import current_tenant
from services.status.domain.errors import PaymentExists
from services.status.imports.domain import History
from services.status.imports.store import ImportStore
from services.status.wire.imports import history_of

if TYPE_CHECKING:
    from grpc import aio

    Context = aio.ServicerContext[Any, Any]

PAYMENTS_MAX: Final = 100
"""Of one call, ~20 ms of the database."""

Outcome = pb.ImportPaymentsResponse.Outcome


class ImportRpcs(StatusServiceServicer):
    """Takes payments over."""

    def __init__(self, imports: ImportStore, *, moved: Callable[[str, str], None], now: Callable[[], datetime]) -> None:
        """`moved` is called with tenant and payment once something was kept that feeds carry."""
        self._imports = imports
        self._moved = moved
        self._import_time = now

    async def ImportPayments(self, request: pb.ImportPaymentsRequest, context: Context) -> pb.ImportPaymentsResponse:
        if not 1 <= len(request.payments) <= PAYMENTS_MAX:
            raise FieldInvalid(field="payments", detail=f"must be 1 to {PAYMENTS_MAX}")
        tenant_id, outcomes = current_tenant(), [Outcome() for _ in request.payments]
        read: dict[int, History] = {}
        for place, message in enumerate(request.payments):
            try:
                history = history_of(message)
                history.refuse_untrue(self._import_time())
            except ServiceError as error:
                outcomes[place] = _refused(error)
            else:
                read[place] = history
        kept: set[str] = set()
        first = {
            one.opening.payment_id: one for one in reversed(read.values())
        }  # each once; the last that is put stays
        if read and not request.dry_run:
            kept = await self._imports.keep(tenant_id, list(first.values()))
            if kept:
                self._moved(tenant_id, next(iter(kept)))
        found = await self._imports.known(tenant_id, [one.opening.payment_id for one in read.values()])
        for place, history in read.items():
            payment_id = history.opening.payment_id
            known = found.get(payment_id)
            if known is None or (payment_id in kept and first[payment_id] is history):
                outcomes[place] = Outcome(is_new=True)
            elif not known.is_same(history):
                outcomes[place] = _refused(PaymentExists(field="opening.payment_id"))
        return pb.ImportPaymentsResponse(outcomes=outcomes)


def _refused(error: ServiceError) -> Outcome:
    return Outcome(reason=error.reason, field=error.field or "", detail=str(error))

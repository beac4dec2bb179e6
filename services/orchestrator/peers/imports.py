"""What gateway and status are asked for records: in calls that are small enough for either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from google.protobuf.message import Message

from batzen.gateway.v1 import imports_pb2
from batzen.gateway.v1.imports_pb2_grpc import ImportServiceStub
from batzen.status.v1 import status_pb2
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from services.orchestrator.peers.refusals import answered

BYTES_MAX: Final = 192 * 1024
"""Of one call: a server takes 256 KiB, of which one record has 60 at most."""

M = TypeVar("M", bound=Message)
GatewayOutcome = imports_pb2.ImportRecordsResponse.Outcome
StatusOutcome = status_pb2.ImportPaymentsResponse.Outcome


class ImportPeers:
    """Has records taken over."""

    def __init__(self, *, gateway: ImportServiceStub, status: StatusServiceStub) -> None:
        self._gateway = gateway
        self._status = status

    async def at_gateway(
        self, records: Sequence[imports_pb2.ImportRecordsRequest.Record], *, dry_run: bool, actor_id: str
    ) -> list[GatewayOutcome]:
        """Have the gateway take records over, and return what came of each."""
        found: list[GatewayOutcome] = []
        for part in _parts(records, size=lambda one: one.ByteSize()):
            request = imports_pb2.ImportRecordsRequest(records=part, dry_run=dry_run, actor_id=actor_id)
            found += (await answered(self._gateway.ImportRecords(request), "gateway")).outcomes
        return found

    async def at_status(self, payments: Sequence[status_pb2.ImportedPayment], *, dry_run: bool) -> list[StatusOutcome]:
        """Have status take payments over, and return what came of each."""
        found: list[StatusOutcome] = []
        for part in _parts(payments, size=lambda one: one.ByteSize()):
            request = status_pb2.ImportPaymentsRequest(payments=part, dry_run=dry_run)
            found += (await answered(self._status.ImportPayments(request), "status")).outcomes
        return found

    async def recorded(self, payment_id: str) -> status_pb2.Payment:
        """Return a payment as it stands at status."""
        asked = status_pb2.GetPaymentRequest(payment_id=payment_id)
        return (await answered(self._status.GetPayment(asked), "status")).payment


def _parts(messages: Sequence[M], *, size: Callable[[M], int]) -> Iterator[list[M]]:
    """Yield messages in their order, so many at once as a call takes."""
    part: list[M] = []
    taken = 0
    for one in messages:
        if part and taken + size(one) > BYTES_MAX:
            yield part
            part, taken = [], 0
        part.append(one)
        taken += size(one)
    if part:
        yield part

"""Delivering to the orchestrator what was observed and no caller got as an answer. Never lost: kept with the mirror.

An observation is complete in itself, so only the newest of a payment is kept and delivered; it covers those before. The
orchestrator being away is waited out; a delivery that it refuses is tried a few times and then needs an operator.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final

from batzen.gateway.v1 import observation_pb2
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.gateway.deliveries import sink
from services.gateway.deliveries.metrics import UNCOUNTED, DeliveryMetrics
from services.gateway.mirror.observation import Observation
from services.gateway.wire.responses import to_proto
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.runtime.rpc import call_context
from services.runtime.work.kinds import Work, WorkClass, WorkKind
from services.shared import codec

NAMESPACE: Final = uuid.UUID("b6f1b0d2-6a39-4e0c-8f7a-0d3e5a2c9b17")


class Deliveries:
    """Makes the deliveries that `Store.save` wrote down."""

    def __init__(
        self,
        connections: DirectConnections,
        stub: GatewayEventSinkServiceStub,
        *,
        now: Callable[[], datetime],
        metrics: DeliveryMetrics = UNCOUNTED,
    ) -> None:
        self._connections = connections
        self._stub = stub
        self._now = now
        self._metrics = metrics

    @property
    def work(self) -> WorkKind:
        """The payments of which the orchestrator has not heard the newest."""
        return WorkKind(
            name="deliveries",
            work_class=WorkClass.DELIVERIES,
            table="deliveries",
            key={"payment_id": "text"},
            retry=sink.RETRY,
            handler=self.deliver,
            about="w.origin",
        )

    async def deliver(self, work: Work) -> None:
        """Deliver the newest observation of a payment; nothing if it was delivered."""
        (payment_id,) = work.key
        call_context.about(payment_id)
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(_WANTED, work.tenant_id, payment_id)
        if row is None:
            return
        observation = codec.from_json(Observation, json.loads(row["observation"]))
        await self._send(work.tenant_id, observation, origin=row["origin"], since=row["record_time"])
        async with self._connections.statement("deliver.done") as connection:
            await connection.execute(_DELIVERED, work.tenant_id, payment_id, observation.mirror_version)
        self._metrics.delivered(seconds=(self._now() - row["record_time"]).total_seconds())

    async def _send(self, tenant_id: str, observation: Observation, *, origin: str, since: datetime) -> None:
        """Call the sink, and raise what `sink.taken` raises."""
        payment_id, version = observation.payment_id, observation.mirror_version
        request = observation_pb2.DeliverEventRequest(
            request_id=str(uuid.uuid5(NAMESPACE, f"{tenant_id}/{payment_id}/{version}")),
            observation=to_proto(observation),
            origin=origin,
        )
        delivering = crash_points.call("deliver.sink", self._deliver(request))
        await sink.taken(delivering, waited=self._now() - since, about=payment_id)

    async def _deliver(self, request: observation_pb2.DeliverEventRequest) -> None:
        await self._stub.DeliverEvent(request, timeout=sink.TIMEOUT_S)


_WANTED: Final = """
    SELECT observation, origin, record_time FROM deliveries
    WHERE tenant_id = $1 AND payment_id = $2 AND delivered_version < wanted_version
"""

_DELIVERED: Final = """
    UPDATE deliveries SET delivered_version = greatest(delivered_version, $3)
    WHERE tenant_id = $1 AND payment_id = $2
"""

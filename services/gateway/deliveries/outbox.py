"""Delivering to the orchestrator what was observed and no caller got as an answer. Never lost: kept with the mirror.

An observation is complete in itself, so only the newest of a payment is kept and delivered; it covers those before. The
orchestrator being away is waited out; a delivery that it refuses is tried a few times and then needs an operator.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import grpc
from grpc import aio

from batzen.gateway.v1 import observation_pb2
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.errors import DependencyUnavailable
from services.gateway.call_log import backoff
from services.gateway.deliveries.metrics import UNCOUNTED, DeliveryMetrics
from services.gateway.mirror.observation import Observation
from services.gateway.wire.responses import to_proto
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.runtime.rpc import call_context
from services.runtime.rpc.error_status import refusal_of
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind
from services.shared import codec

RETRY: Final = RetryPolicy(tries_max=8, first_delay=timedelta(seconds=1), delay_max=timedelta(minutes=5))
TIMEOUT_S: Final = 3.0
"""The sink stores and answers, in milliseconds. One that hangs must not keep workers from the others."""
REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""The sink was reached and does not want it. Anything else says that it is away, too busy, or that our token is being
renewed: no failure of the delivery."""
NAMESPACE: Final = uuid.UUID("b6f1b0d2-6a39-4e0c-8f7a-0d3e5a2c9b17")

_logger = logging.getLogger(__name__)


class DeliveryRefused(Exception):
    """The sink refuses what is delivered."""


class Deliveries:
    """Makes the deliveries that `Store.save` wrote down."""

    def __init__(
        self,
        connections: DirectConnections,
        sink: GatewayEventSinkServiceStub,
        *,
        now: Callable[[], datetime],
        metrics: DeliveryMetrics = UNCOUNTED,
    ) -> None:
        self._connections = connections
        self._sink = sink
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
            retry=RETRY,
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
        """Call the sink. Raises `RetryLater` when it is away, `DeliveryRefused` when it does not want this."""
        payment_id, version = observation.payment_id, observation.mirror_version
        request = observation_pb2.DeliverEventRequest(
            request_id=str(uuid.uuid5(NAMESPACE, f"{tenant_id}/{payment_id}/{version}")),
            observation=to_proto(observation),
            origin=origin,
        )
        rest = backoff.rest(self._now() - since)
        try:
            await crash_points.call("deliver.sink", self._deliver(request))
        except aio.AioRpcError as error:
            refusal = f"{error.code().name} {refusal_of(error).reason}".strip()
            if error.code() in REFUSALS or rest is None:
                raise DeliveryRefused(refusal) from error
            _logger.info("a delivery waits", extra={"fields": {"payment_id": payment_id, "reason": refusal}})
            raise RetryLater(rest) from error
        except DependencyUnavailable as error:  # there is no token to call with
            if rest is None:
                raise
            raise RetryLater(rest) from error

    async def _deliver(self, request: observation_pb2.DeliverEventRequest) -> None:
        await self._sink.DeliverEvent(request, timeout=TIMEOUT_S)


_WANTED: Final = """
    SELECT observation, origin, record_time FROM deliveries
    WHERE tenant_id = $1 AND payment_id = $2 AND delivered_version < wanted_version
"""

_DELIVERED: Final = """
    UPDATE deliveries SET delivered_version = greatest(delivered_version, $3)
    WHERE tenant_id = $1 AND payment_id = $2
"""

"""Telling the orchestrator what was seen when no caller is there to be told. Never lost: recorded with the mirror.

An observation is complete in itself, so only the newest of a payment is kept and delivered. The orchestrator being away
is waited out, for as long as it takes; a delivery that it refuses is tried a few times and then held for a person.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import grpc
import sqlalchemy as sa
from grpc import aio
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from batzen._channel import reason_of
from batzen.gateway.v1 import observation_pb2
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.gateway.convert import to_proto
from services.gateway.domain import Observation
from services.runtime import points
from services.runtime.database import reading, transaction
from services.runtime.jobs import Job, JobClass, JobKind, JobQueue, RetryLater, RetryPolicy

DELIVER: Final = JobKind(
    name="deliver",
    job_class=JobClass.MONEY,
    retry=RetryPolicy(tries_max=8, first_delay=timedelta(seconds=1), delay_max=timedelta(minutes=5)),
)
AWAY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
"""The sink was not reached or did not answer: no failure of the delivery."""
AWAY_REST: Final = timedelta(seconds=1)
NAMESPACE: Final = uuid.UUID("b6f1b0d2-6a39-4e0c-8f7a-0d3e5a2c9b17")

_logger = logging.getLogger(__name__)


class DeliveryRefused(Exception):
    """The sink refuses what is delivered."""


class Deliveries:
    """Records deliveries and makes them."""

    def __init__(
        self,
        engine: AsyncEngine,
        queue: JobQueue,
        sink: GatewayEventSinkServiceStub,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._sink = sink
        self._now = now

    async def record(
        self, connection: AsyncConnection, tenant_id: str, observation: Observation, *, origin: str
    ) -> None:
        """Have an observation delivered once the transaction of `connection` has committed."""
        await connection.execute(
            _RECORD,
            {
                "tenant_id": tenant_id,
                "payment_id": observation.payment_id,
                "version": observation.mirror_version,
                "observation": json.dumps(observation.to_json()),
                "origin": origin,
                "now": self._now(),
            },
        )
        # A job for each version: one that is kept from starting by an older that just ends would be lost.
        await self._queue.enqueue(
            connection,
            DELIVER,
            {"payment_id": observation.payment_id},
            tenant_id=tenant_id,
            dedupe_key=f"{observation.payment_id}:{observation.mirror_version}",
        )

    async def deliver(self, job: Job) -> None:
        """Deliver the newest observation of a payment, unless it was."""
        key = {"tenant_id": job.tenant_id, "payment_id": job.payload["payment_id"]}
        async with reading(self._engine) as connection:
            row = (await connection.execute(_WANTED, key)).one_or_none()
        if row is None:
            return
        observation = Observation.from_json(row.observation)
        request = observation_pb2.DeliverEventRequest(
            request_id=str(uuid.uuid5(NAMESPACE, f"{observation.payment_id}/{observation.mirror_version}")),
            observation=to_proto(observation),
            origin=row.origin,
        )
        try:
            await points.call("deliver.sink", self._deliver(request))
        except aio.AioRpcError as error:
            if error.code() in AWAY:
                _logger.warning("the sink is away: %s", error.details())
                raise RetryLater(AWAY_REST) from error
            raise DeliveryRefused(f"{error.code().name} {reason_of(error)}") from error
        async with transaction(self._engine, "deliver.done") as connection:
            await connection.execute(_DELIVERED, key | {"version": observation.mirror_version})

    async def _deliver(self, request: observation_pb2.DeliverEventRequest) -> None:
        await self._sink.DeliverEvent(request)


_RECORD = sa.text("""
    INSERT INTO deliveries (tenant_id, payment_id, wanted_version, observation, origin, record_time)
    VALUES (:tenant_id, :payment_id, :version, CAST(:observation AS jsonb), :origin, :now)
    ON CONFLICT ON CONSTRAINT deliveries_pkey
    DO UPDATE SET wanted_version = excluded.wanted_version, observation = excluded.observation,
        origin = excluded.origin, record_time = excluded.record_time
    WHERE deliveries.wanted_version < excluded.wanted_version
""")

_WANTED = sa.text("""
    SELECT observation, origin, record_time FROM deliveries
    WHERE tenant_id = :tenant_id AND payment_id = :payment_id AND delivered_version < wanted_version
""").columns(observation=sa.JSON)

_DELIVERED = sa.text("""
    UPDATE deliveries SET delivered_version = greatest(delivered_version, :version)
    WHERE tenant_id = :tenant_id AND payment_id = :payment_id
""")

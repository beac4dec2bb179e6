"""Delivers notices to the orchestrator. Never lost: each is kept with what it is about, until the orchestrator has it.

Notices say what happened and not what is true now, so each is delivered, by itself and in no order. The orchestrator
being away is waited out; one that it refuses is tried a few times and then needs an operator.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg

from batzen.gateway.v1 import observation_pb2
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.gateway.deliveries import sink
from services.gateway.notices.domain import Notice, NoticeKind
from services.gateway.notices.metrics import UNCOUNTED, NoticeMetrics
from services.gateway.wire.notices import notice_to_proto
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.runtime.rpc import call_context
from services.runtime.work.kinds import Work, WorkClass, WorkKind


class Notices:
    """Makes the deliveries of notices that were written down."""

    def __init__(
        self,
        connections: DirectConnections,
        stub: GatewayEventSinkServiceStub,
        *,
        now: Callable[[], datetime],
        metrics: NoticeMetrics = UNCOUNTED,
    ) -> None:
        self._connections = connections
        self._stub = stub
        self._now = now
        self._metrics = metrics

    @property
    def work(self) -> WorkKind:
        """The notices that the orchestrator has not heard."""
        return WorkKind(
            name="notices",
            work_class=WorkClass.DELIVERIES,
            table="notices",
            key={"notice_id": "uuid"},
            retry=sink.RETRY,
            handler=self.deliver,
            about="w.kind",
        )

    async def deliver(self, work: Work) -> None:
        """Deliver a notice; nothing if it was delivered."""
        (notice_id,) = work.key
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(WANTED, work.tenant_id, notice_id)
        if row is None:
            return
        notice = _notice(row)
        if notice.payment_id:
            call_context.about(notice.payment_id)
        request = observation_pb2.DeliverNoticeRequest(notice=notice_to_proto(notice))
        delivering = crash_points.call("notice.sink", self._deliver(request))
        await sink.taken(delivering, waited=self._now() - row["create_time"], about=work.name)
        async with self._connections.statement("notice.done") as connection:
            await connection.execute(DELIVERED, work.tenant_id, notice_id, self._now())
        self._metrics.delivered(notice.kind)

    async def _deliver(self, request: observation_pb2.DeliverNoticeRequest) -> None:
        await self._stub.DeliverNotice(request, timeout=sink.TIMEOUT_S)


def _notice(row: asyncpg.Record) -> Notice:
    return Notice(
        notice_id=row["notice_id"],
        kind=NoticeKind(row["kind"]),
        occur_time=row["occur_time"],
        payment_id=row["payment_id"],
        seller_ids=tuple(row["seller_ids"]),
        values=json.loads(row["values"]),
    )


WANTED: Final = """
    SELECT notice_id, kind, payment_id, seller_ids, "values", occur_time, create_time FROM notices
    WHERE tenant_id = $1 AND notice_id = $2 AND delivered_time IS NULL
"""

DELIVERED: Final = """
    UPDATE notices SET delivered_time = $3 WHERE tenant_id = $1 AND notice_id = $2 AND delivered_time IS NULL
"""

"""Reads how a plan stands beside what it says: its lease, what is due, and what waits. Holds nothing."""

from __future__ import annotations

import json
from typing import Final

from services.orchestrator.diagnosis.domain import Standing
from services.orchestrator.domain.plan import Plan
from services.orchestrator.storage.store import Store
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock


class PlanStore:
    """Reads. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections, payments: Store, *, clock: Clock) -> None:
        self._held = held
        self._payments = payments
        self._clock = clock

    async def plan(self, tenant_id: str, payment_id: str) -> Plan | None:
        """Return the plan of a payment; None if there is none, or its start was refused."""
        return await self._payments.read(tenant_id, payment_id, payer_id=None)

    async def is_known(self, tenant_id: str, payment_id: str) -> bool:
        """Whether there is such a payment, also one whose start was refused."""
        return await self._payments.is_known(tenant_id, payment_id)

    async def standing(self, plan: Plan) -> Standing | None:
        """Return how a plan stands; None if it is gone."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(
                _STANDING, plan.tenant_id, plan.payment_id, self._clock.shift, list(plan.booking_ids)
            )
        if row is None:
            return None
        return Standing(
            fence=row["fence"],
            is_held=row["is_held"],
            is_due=bool(row["is_due"]),
            has_due_time=row["has_due_time"],
            problem=row["problem"] or "",
            open_requests=row["open_requests"],
            refusals=tuple((fact, refusal) for fact, refusal in json.loads(row["refusals"])),
            claims=dict(json.loads(row["claims"])),
        )


_STANDING: Final = """
SELECT p.fence, p.held_until > now() + $3::interval AS is_held, p.due_time <= now() + $3::interval AS is_due,
    p.due_time IS NOT NULL AS has_due_time, p.problem,
    (SELECT count(*) FROM requests r
     WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id AND r.state <> 'DONE') AS open_requests,
    (SELECT coalesce(json_agg(json_build_array(t.fact, t.refusal) ORDER BY t.seq), '[]') FROM transitions t
     WHERE t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id AND t.refusal IS NOT NULL) AS refusals,
    (SELECT coalesce(json_object_agg(c.booking_id, c.payment_id), '{}') FROM booking_claims c
     WHERE c.tenant_id = p.tenant_id AND c.booking_id = ANY($4::text[])) AS claims
FROM payments p WHERE p.tenant_id = $1 AND p.payment_id = $2"""

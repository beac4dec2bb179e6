"""The payments that this process holds: taken under a lease, worked on as a unit, released as they were saved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from services.orchestrator.domain import policies
from services.orchestrator.domain.agenda import waiting_ends
from services.orchestrator.domain.payment import EXPIRABLE
from services.orchestrator.domain.plan import Plan, Request, Stage
from services.orchestrator.metrics import UNCOUNTED, OrchestratorMetrics
from services.orchestrator.storage.store import Store
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime.database.lease import Leases, patience
from services.runtime.rpc import call_context
from services.runtime.work.kinds import problem_of

WAIT_MAX_S = 20.0
"""How long to wait for a payment that another process or call holds, when no deadline says less."""


class HeldPayments:
    """The payments that this process holds, and those who wait for one."""

    def __init__(
        self,
        store: Store,
        *,
        abandoned_after: timedelta,
        now: Callable[[], datetime],
        metrics: OrchestratorMetrics = UNCOUNTED,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._abandoned_after = abandoned_after
        self._now = now
        self._leases = Leases(_LeasedPlans(store, now=now), key_of=_key_of)

    @asynccontextmanager
    async def holding(self, plan: Plan) -> AsyncIterator[UnitOfWork]:
        """Keep the lease while inside. On an error the payment is released as it was last saved, to be tried again."""
        call_context.about(plan.payment_id, origin=plan.trace_context)
        async with self._leases.holding(plan):
            yield UnitOfWork(
                plan, self._store, abandoned_after=self._abandoned_after, now=self._now, metrics=self._metrics
            )

    async def acquire(self, tenant_id: str, payment_id: str) -> Plan:
        """Take a payment, waiting for whoever has it; raises `RequestInProgress` shortly before the deadline."""
        return await self._leases.acquire((tenant_id, payment_id), until=patience(wait_max_s=WAIT_MAX_S))

    async def acquire_or_answer(
        self, request: Request, *, answer: Callable[[], Awaitable[Request | None]], until: float
    ) -> tuple[Request, None] | tuple[None, Plan]:
        """Wait until a request has its answer, or its payment is ours; raises `RequestInProgress` at `until`."""
        key = (request.key.tenant_id, request.payment_id)
        return await self._leases.acquire_or_answer(key, question=request.key, answer=answer, until=until)

    def check_room(self, request: Request) -> None:
        """Raise `TooManyCalls` if as many wait for the payment as may."""
        self._leases.check_room((request.key.tenant_id, request.payment_id))

    def answered(self, request: Request) -> None:
        """Wake all who wait for the answer to a request."""
        self._leases.answered(request.key)

    async def payer_seen(self, plan: Plan) -> None:
        """Wait anew for a payer who reads a payment that nobody holds, if it moves the end far enough to be written."""
        until = waiting_ends(plan, self._abandoned_after, self._now())
        is_turn = plan.stage is Stage.COLLECTING and plan.latest_snapshot.collection in EXPIRABLE
        if is_turn and policies.is_worth_writing(plan.next_time, until, abandoned_after=self._abandoned_after):
            await self._store.keep_alive(plan, next_time=until)


class _LeasedPlans:
    """The lease of a payment, as its rows have it."""

    def __init__(self, store: Store, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def take(self, tenant_id: str, payment_id: str, /) -> Plan | None:
        return await self._store.take(tenant_id, payment_id)

    async def renew(self, plan: Plan, /) -> bool:
        return await self._store.renew(plan)

    async def release(self, plan: Plan, error: BaseException | None, /) -> None:
        """What is saved stays; the rest is done again, at once where this process goes away, or after a rest."""
        now, problem = self._now(), None
        plan.due_time = now
        if isinstance(error, Exception):
            plan.failures += 1
            plan.due_time, problem = now + policies.retry_delay(plan.failures), problem_of(error)
        await self._store.release(plan, now=now, problem=problem)


def _key_of(plan: Plan) -> tuple[str, str]:
    return plan.tenant_id, plan.payment_id

"""The due work of reconciling: one step after another, each kept with what it found, until the end of the span.

What happens if the process dies:
- in a step: nothing of it is kept, and whoever goes on takes it again; reading changes nothing;
- after something was mended, before that is kept: what was found is kept since the step before, and the step that is
  taken again sees it mended.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.errors import Aborted, FieldInvalid, ResourceExhausted, Unavailable
from services.gateway.reconciliation.books import BookComparison
from services.gateway.reconciliation.domain import FINDINGS_MAX, SPAN_MAX, Stage
from services.gateway.reconciliation.lists import ListComparison
from services.gateway.reconciliation.metrics import ReconciliationMetrics
from services.gateway.reconciliation.position import Position, Span
from services.gateway.reconciliation.run import Run
from services.gateway.reconciliation.standing import StandingComparison
from services.gateway.reconciliation.store import ReconciliationStore, Step
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, jittered

RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=5), delay_max=timedelta(minutes=15))
"""A run is never given up; what it waits for is said with it."""
STEPS_MAX: Final = 25
"""Of one run, before other readings have their turn."""
REST: Final = timedelta(seconds=10)
"""After Stripe was away, or a payment was held."""
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)
TOO_MANY: Final = f"More than {FINDINGS_MAX} differences: is it the right account, and the right database?"


class Reconciliations:
    """Begins runs and takes their steps."""

    def __init__(
        self,
        store: ReconciliationStore,
        lists: ListComparison,
        books: BookComparison,
        standing: StandingComparison,
        *,
        now: Callable[[], datetime],
        wake: Callable[[WorkClass], None],
        metrics: ReconciliationMetrics,
    ) -> None:
        self.store = store
        self._lists = lists
        self._books = books
        self._standing = standing
        self._now = now
        self._wake = wake
        self._metrics = metrics

    @property
    def work(self) -> WorkKind:
        """The runs that have not come to their end."""
        return WorkKind(
            name="reconciliations",
            work_class=WorkClass.READS,
            table="reconciliations",
            key={"reconciliation_id": "text"},
            retry=RETRY,
            handler=self.go_on,
        )

    async def begin(
        self,
        tenant_id: str,
        span: Span,
        *,
        request_id: uuid.UUID,
        request_hash: bytes,
        repairs: bool,
        actor_id: str,
    ) -> str:
        """Begin a run, and return its id; a repeat returns the same. Raises FieldInvalid for a span that is none."""
        if span.until <= span.since:
            raise FieldInvalid(field="end_time", detail="must be after `start_time`, by a second or more")
        if span.until - span.since > SPAN_MAX:
            raise FieldInvalid(field="end_time", detail=f"must be at most {SPAN_MAX.days} days after `start_time`")
        run = Run(
            tenant_id=tenant_id,
            reconciliation_id=f"reconciliation_{request_id.hex}",
            request_hash=request_hash,
            actor_id=actor_id,
            span=span,
            repairs=repairs,
            steps=0,
            position=Position(),
            counted={},
            cut_short="",
            problem="",
            create_time=self._now(),
            finish_time=None,
        )
        await self.store.begin(run)
        self._wake(WorkClass.READS)
        return run.reconciliation_id

    async def go_on(self, work: Work) -> None:
        """Take the steps that follow."""
        (reconciliation_id,) = work.key
        for _ in range(STEPS_MAX):
            run = await self.store.require(work.tenant_id, reconciliation_id)
            if run.position is None:
                return
            try:
                step = await self.step(run, run.position)
            except AWAY as error:
                raise RetryLater(jittered(REST)) from error
            if step.cut_short or (step.findings and await self._found(run) + len(step.findings) > FINDINGS_MAX):
                step = replace(step, position=None, cut_short=step.cut_short or TOO_MANY)
            await self.store.keep(run, step)
            if step.position is None:
                await self.show(work.tenant_id)
        raise RetryLater(timedelta())

    async def show(self, tenant_id: str) -> None:
        """Show what the last run that compared everything came to, and how old that is."""
        run = await self.store.last_finished(tenant_id)
        tallies = await self.store.tallies(tenant_id, run.reconciliation_id) if run is not None else []
        since = run.finish_time if run is not None else await self.store.account_time(tenant_id)
        self._metrics.show(run, tallies, age=self._now() - since if since is not None else timedelta())

    async def step(self, run: Run, position: Position) -> Step:
        """Take a step, and return what is to be kept of it. Taken twice, it comes to the same."""
        match position.stage:
            case Stage.LEDGER:
                return await self._books.ledger(run, position)
            case Stage.CLEARING:
                return await self._books.clearing(run, position)
            case Stage.SETTLEMENT:
                return await self._standing.settlement(run, position)
            case Stage.DELIVERIES:
                return await self._standing.deliveries(run, position)
            case _:
                return await self._lists.step(run, position)

    async def _found(self, run: Run) -> int:
        tallies = await self.store.tallies(run.tenant_id, run.reconciliation_id)
        return sum(one.count + one.repaired_count for one in tallies)

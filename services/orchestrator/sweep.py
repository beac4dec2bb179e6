"""Recovery: moves on every payment that is due.

A payment is due when the lease of a dead holder ran out, when something newer was delivered, when status has not
heard everything, when a request on it is open, or when its payer's time is up. The engine (services/runtime/work) takes
it; its lease is the payment's own, by which callers' requests go, too. Payments whose payer's time is up have slots of
their own: however many they are, and however slow Stripe is with them, nobody who pays waits for them.

No payment is given up. What cannot be moved is tried on, ever more seldom, up to once in `RETRY_MAX`; what went wrong
last stands in its row. After `PARKED_AFTER_TRIES` failures an operator is needed: the payment says so itself (attention
`STUCK`), or, where its row cannot even be read or status does not record it, an ERROR in the log at each further try.
"""

from __future__ import annotations

import logging

from services.errors import ServiceError
from services.orchestrator.domain.plan import DueFor, Plan
from services.orchestrator.domain.policies import PARKED_AFTER_TRIES, RETRY_FIRST, RETRY_MAX
from services.orchestrator.due_steps.registry import DueSteps
from services.orchestrator.fraud_refunds import FraudRefunds
from services.orchestrator.held_payments import HeldPayments
from services.orchestrator.metrics import UNCOUNTED, OrchestratorMetrics
from services.orchestrator.request_runner import RequestRunner
from services.orchestrator.steps import Steps
from services.orchestrator.storage.store import WORK_CLASSES, Store
from services.orchestrator.surplus import Surplus
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime.work.kinds import RetryPolicy, Work, WorkKind

_logger = logging.getLogger(__name__)


class Sweep:
    """Moves what is due."""

    def __init__(
        self,
        store: Store,
        payments: HeldPayments,
        steps: Steps,
        outbox: TransitionOutbox,
        runner: RequestRunner,
        *,
        due_steps: DueSteps,
        surplus: Surplus,
        fraud_refunds: FraudRefunds,
        metrics: OrchestratorMetrics = UNCOUNTED,
    ) -> None:
        self._store = store
        self._payments = payments
        self._steps = steps
        self._due_steps = due_steps
        self._surplus = surplus
        self._fraud_refunds = fraud_refunds
        self._outbox = outbox
        self._runner = runner
        self._metrics = metrics
        self.kinds = [self._kind("payments", DueFor.MONEY), self._kind("expiries", DueFor.EXPIRY)]
        """The payments as work: the same is done with all, in slots of the class that they are due for."""

    def _kind(self, name: str, due_for: DueFor) -> WorkKind:
        return WorkKind(
            name=name,
            work_class=WORK_CLASSES[due_for],
            table="payments",
            key={"payment_id": "text"},
            where=f"work_class = '{due_for}'",
            retry=RetryPolicy(tries_max=None, first_delay=RETRY_FIRST, delay_max=RETRY_MAX),
            handler=self.move,
            handler_releases=True,
        )

    async def move(self, work: Work) -> None:
        """Do all that is to be done now on a payment that the engine took.

        What fails while it is held is released by its holder, to be tried again; the engine does so when it cannot even
        be read.
        """
        plan = await self._plan(work)
        if plan is None:
            return
        held: UnitOfWork | None = None
        try:
            async with self._payments.holding(plan) as held:
                await self._steps.park_if_stuck(held)
                # Requests come first: the one that started the payment is what finishes its start.
                await self._runner.finish(held)
                self._steps.apply_delivered(held)
                await self._due_steps.take(held)
                await self._surplus.settle(held)
                await self._fraud_refunds.settle(held)
                await self._outbox.flush_outbox(held)
                await self._steps.unpark_if_moving(held)
                await held.save("sweep.release", release=True)
            self._metrics.recovered(is_moved=True)
        except Exception as error:
            self._metrics.recovered(is_moved=False)
            is_told = plan.revision > 0 and held is not None and not held.has_pending
            if plan.failures > PARKED_AFTER_TRIES and not is_told:
                _logger.error("%s does not move, cannot say so, and needs an operator: %s", plan.payment_id, error)
            if not isinstance(error, ServiceError):
                raise
            _logger.warning("%s is tried again: %s", plan.payment_id, error)

    async def _plan(self, work: Work) -> Plan | None:
        """Return the plan of a payment; None if it is another's by now."""
        try:
            return await self._store.held(work.tenant_id, *work.key, fence=work.fence)
        except ServiceError:
            raise
        except Exception:
            if work.failures + 1 >= PARKED_AFTER_TRIES:
                _logger.error("%s cannot be read, and needs an operator", work.name)
            raise

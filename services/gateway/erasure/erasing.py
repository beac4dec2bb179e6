"""Erases payers: the key of their personal data is destroyed, their customer deleted at Stripe; the books are kept.

What happens if the process dies:
- before `erase.begin`: nothing happened;
- after that: the key is destroyed and the customer forgotten here, which nothing takes back. The erasure is due, and
  whoever takes it, or the caller's repeat, goes on;
- before or after Stripe was asked: the call is written down, and is asked again until the customer is gone;
- after `erase.empty`: the same, and nothing is found to be emptied;
- after `erase.end`: nothing is left to do.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.errors import Aborted, DependencyUnavailable, RequestIdReused, ResourceExhausted, Unavailable
from services.gateway.call_log import backoff
from services.gateway.call_log.engine import Calls
from services.gateway.customers.operations import Customers
from services.gateway.erasure import statements
from services.gateway.erasure.delete_customer import DeleteCustomer, DeleteCustomerParams
from services.gateway.erasure.domain import PAYMENT_IDS_MAX, Kept, Remains, is_money_moving, kept
from services.gateway.errors import PayerHasOpenPayments
from services.gateway.mirror.store import Store
from services.gateway.payment_methods.kept_methods import KeptMethods
from services.gateway.personal.keys import PersonalKeys, holder_of
from services.gateway.personal.metrics import KeyMetrics
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind

RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=5), delay_max=timedelta(hours=1))
LOOKS_MAX: Final = 5
"""At a payer whose payments move while they are looked at."""
DELETION_NAMESPACE: Final = uuid.UUID("7c3d3c0f-7b0e-4c8e-9c53-0d6a5be0a4f1")
"""Of the requests that delete customers. Never changes."""
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """An erasure that has begun."""

    tenant_id: str
    request_id: uuid.UUID
    request_hash: bytes
    payer_id: str
    customer_id: str | None
    create_time: datetime
    is_over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What came of it."""

    kept: list[Kept]
    is_over: bool
    """Whether nothing is left to do; else Stripe is asked again until the customer is gone there."""


class Erasing:
    """Erases payers, and carries on what was begun."""

    def __init__(  # noqa: PLR0917 its parts
        self,
        connections: DirectConnections,
        payments: Store,
        calls: Calls,
        customers: Customers,
        methods: KeptMethods,
        keys: PersonalKeys,
        *,
        clock: Clock,
        metrics: KeyMetrics,
    ) -> None:
        self._connections = connections
        self._payments = payments
        self._calls = calls
        self._customers = customers
        self._methods = methods
        self._keys = keys
        self._clock = clock
        self._now: Callable[[], datetime] = clock.now
        self._metrics = metrics

    @property
    def work(self) -> WorkKind:
        """The erasures that are not at their end."""
        return WorkKind(
            name="erasures",
            work_class=WorkClass.READS,
            table="erasures",
            key={"request_id": "uuid"},
            retry=RETRY,
            handler=self._due,
        )

    async def erase(
        self, tenant_id: str, payer_id: str, *, request_id: uuid.UUID, request_hash: bytes, actor_id: str
    ) -> Erased:
        """Erase a payer, or go on with that. Raises PayerHasOpenPayments while money is moving.

        Raises StripeUnavailable, and nothing is done, while it is not known whether a customer was made.
        """
        erasure = await self._known(tenant_id, request_id)
        if erasure is None:
            await self._begin(tenant_id, payer_id, request_id, request_hash, actor_id)
            erasure = await self._known(tenant_id, request_id)
        assert erasure is not None, "it was just written"  # noqa: S101
        if erasure.request_hash != request_hash:
            raise RequestIdReused(field="request_id")
        is_over = erasure.is_over or await self._tried_to_carry_on(erasure)
        return Erased(kept=await self._remains(erasure), is_over=is_over)

    async def _begin(
        self, tenant_id: str, payer_id: str, request_id: uuid.UUID, request_hash: bytes, actor_id: str
    ) -> None:
        """Destroy the key, unless money is moving; from then on it is not taken back."""
        for _ in range(LOOKS_MAX):
            payments, fence = await self._at_rest(tenant_id, payer_id)
            async with self._connections.statement("erase.begin") as connection:
                row = await connection.fetchrow(
                    statements.BEGIN,
                    tenant_id,
                    payer_id,
                    request_id,
                    request_hash,
                    actor_id,
                    self._now(),
                    payments,
                    fence,
                    self._clock.shift,
                    call_context.origin(),
                )
            if row["is_begun"]:
                self._metrics.destroyed(row["destroyed"])
                fields = {"payer_id": payer_id, "actor_id": actor_id, "request_id": str(request_id)}
                _logger.info("a payer is erased", extra={"fields": fields})
                return
            if await self._known(tenant_id, request_id) is not None:  # by the same request, elsewhere
                return
        raise PayerHasOpenPayments(payment_ids="")

    async def _at_rest(self, tenant_id: str, payer_id: str) -> tuple[int, int]:
        """Return how many payments there are, and their highest fence, which tells that one was touched since."""
        async with self._connections.statement(None) as connection:
            seen = await connection.fetchrow(statements.SEEN, tenant_id, payer_id)
            waiting = await connection.fetch(statements.WITH_DUE_WORK, tenant_id, payer_id, PAYMENT_IDS_MAX)
        if seen["is_being_made"]:  # who it is at Stripe is settled first, or nobody could delete them there
            await self._customers.ensure(tenant_id, payer_id, email="", name="", locale="")
        payments = await self._payments.of_payer(tenant_id, payer_id)
        moving = [payment.payment_id for payment in payments if is_money_moving(payment)]
        moving += [row["payment_id"] for row in waiting if row["payment_id"] not in moving]
        if moving or seen["has_open_calls"]:
            raise PayerHasOpenPayments(payment_ids=",".join(moving[:PAYMENT_IDS_MAX]))
        return seen["payments"], seen["fence"]

    async def _tried_to_carry_on(self, erasure: Erasure) -> bool:
        try:
            return await self._carry_on(erasure)
        except AWAY as error:
            _logger.warning("a payer's erasure goes on later: %s", error.reason)
            return False

    async def _carry_on(self, erasure: Erasure) -> bool:
        """Do what is left to do; False while Stripe does not say that the customer is gone."""
        tenant_id, payer_id = erasure.tenant_id, erasure.payer_id
        self._keys.forget(tenant_id, holder_of(payer_id))
        if erasure.customer_id is not None:
            self._customers.gone(tenant_id, payer_id, erasure.customer_id)
            deleted = await self._calls.make(
                DeleteCustomer,
                tenant_id=tenant_id,
                subject_id=payer_id,
                request_id=uuid.uuid5(DELETION_NAMESPACE, f"{tenant_id}/{erasure.request_id}"),
                request_hash=erasure.request_hash,
                params=DeleteCustomerParams(customer_id=erasure.customer_id),
            )
            if not deleted.answer:
                return False
            await self._methods.forget_strangers(tenant_id, payer_id)
        async with self._connections.statement("erase.empty") as connection:
            await connection.execute(statements.EMPTY, tenant_id, payer_id)
        async with self._connections.statement("erase.end") as connection:
            await connection.execute(statements.END, tenant_id, erasure.request_id, self._now())
        return True

    async def _due(self, work: Work) -> None:
        """Carry on an erasure whose caller may be gone."""
        erasure = await self._known(work.tenant_id, uuid.UUID(work.key[0]))
        if erasure is None or erasure.is_over:
            return
        try:
            is_over = await self._carry_on(erasure)
        except DependencyUnavailable:
            raise
        except AWAY as error:
            raise RetryLater(self._rest(erasure)) from error
        if not is_over:
            raise RetryLater(self._rest(erasure))

    def _rest(self, erasure: Erasure) -> timedelta:
        return backoff.rest(self._now() - erasure.create_time) or RETRY.delay_max

    async def _known(self, tenant_id: str, request_id: uuid.UUID) -> Erasure | None:
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statements.KNOWN, tenant_id, request_id)
        if row is None:
            return None
        return Erasure(
            tenant_id=tenant_id,
            request_id=request_id,
            request_hash=row["request_hash"],
            payer_id=row["payer_id"],
            customer_id=row["customer_id"],
            create_time=row["create_time"],
            is_over=row["end_time"] is not None,
        )

    async def _remains(self, erasure: Erasure) -> list[Kept]:
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statements.REMAINS, erasure.tenant_id, erasure.payer_id)
        return kept(Remains(**row), erasure.create_time)

"""Diagnoses payments: reads every record, twice where one moved meanwhile, and says where they disagree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, TypeVar

from services.errors import DependencyUnavailable
from services.orchestrator.diagnosis.comparing import disagreements
from services.orchestrator.diagnosis.domain import Diagnosis, Examination, Recorded, Sources
from services.orchestrator.diagnosis.plan_store import PlanStore
from services.orchestrator.diagnosis.sides import sides
from services.orchestrator.domain.plan import Plan
from services.orchestrator.domain.price import Price
from services.orchestrator.peers.examinations import Examinations
from services.orchestrator.peers.pricing import Pricing
from services.orchestrator.peers.status import Status
from services.orchestrator.wire.diagnosis import as_told, recorded
from services.orchestrator.wire.prices import price
from services.shared.diagnosis import Keeper
from services.shared.refusals import Refusal

TRIES: Final = 3
"""Readings of a payment that moves meanwhile; then that is said with what was read."""
HISTORY_MAX: Final = 500
"""Revisions of a history that is read; a payment has about ten."""
NOT_FOUND: Final = "NOT_FOUND"

Answer = TypeVar("Answer")


class Examiner:
    """Looks, and changes nothing."""

    def __init__(self, plans: PlanStore, status: Status, pricing: Pricing, examinations: Examinations) -> None:
        self._plans = plans
        self._status = status
        self._pricing = pricing
        self._examinations = examinations

    async def diagnose(self, tenant_id: str, payment_id: str, *, with_stripe: bool) -> Diagnosis | None:
        """Return what is known of a payment and where it disagrees; None if there is no such payment."""
        for number in range(1, TRIES + 1):
            found = await self._read(tenant_id, payment_id, with_stripe=with_stripe)
            if found is None or not found.is_moving or number == TRIES:
                break
        return None if found is None else _diagnosis(found)

    async def diagnose_many(self, tenant_id: str, payment_ids: Sequence[str]) -> list[Diagnosis]:
        """Return the same of payments, without Stripe and at the first reading; without those that are not known."""
        problems: dict[Keeper, str] = {}
        examined = await _asked(self._examinations.of(payment_ids), Keeper.MIRROR, problems) or {}
        found = [await self._read(tenant_id, one, examined=examined, away=problems) for one in payment_ids]
        return [_diagnosis(one) for one in found if one is not None]

    async def _read(
        self,
        tenant_id: str,
        payment_id: str,
        *,
        with_stripe: bool = False,
        examined: Mapping[str, Examination] | None = None,
        away: Mapping[Keeper, str] | None = None,
    ) -> Sources | None:
        """Read a payment's records between two readings of its plan; what was examined before is not asked again."""
        plan = await self._plans.plan(tenant_id, payment_id)
        before = await self._plans.standing(plan) if plan is not None else None
        if plan is None or before is None:
            return None
        problems = dict(away or {})
        kept, quote, found = await asyncio.gather(
            _asked(self._recorded(payment_id), Keeper.STATUS, problems),
            _asked(self._price(plan), Keeper.QUOTE, problems),
            _asked(self._examined(payment_id, examined, with_stripe=with_stripe), Keeper.MIRROR, problems),
        )
        after = await self._plans.standing(plan)
        moved = after is None or (before.fence, before.open_requests) != (after.fence, after.open_requests)
        return Sources(
            plan=plan,
            told=as_told(plan.latest_snapshot),
            standing=after or before,
            is_moving=moved or (found is not None and found.is_moving),
            recorded=kept,
            price=quote,
            examination=found,
            problems=problems,
        )

    async def _recorded(self, payment_id: str) -> Recorded:
        payment = await self._status.payment(payment_id)
        history = await self._status.transitions(payment_id, at_most=HISTORY_MAX)
        if history is not None and len(history) > payment.revision:
            payment = await self._status.payment(payment_id)  # it moved in between
        return recorded(payment, history)

    async def _price(self, plan: Plan) -> Price | None:
        return price(await self._pricing.quote(plan.quote_id)) if plan.quote_id else None

    async def _examined(
        self, payment_id: str, examined: Mapping[str, Examination] | None, *, with_stripe: bool
    ) -> Examination | None:
        if examined is None:
            examined = await self._examinations.of([payment_id], with_stripe=with_stripe)
        return examined.get(payment_id)


async def _asked(asking: Awaitable[Answer], keeper: Keeper, problems: dict[Keeper, str]) -> Answer | None:
    """Return an answer, None where there is no such thing; who does not answer is among the problems."""
    try:
        return await asking
    except Refusal as refusal:
        if refusal.status != NOT_FOUND:
            problems[keeper] = f"It refuses to say: {refusal.reason}."
    except DependencyUnavailable as error:
        problems[keeper] = str(error)
    return None


def _diagnosis(sources: Sources) -> Diagnosis:
    return Diagnosis(
        payment_id=sources.plan.payment_id,
        is_moving=sources.is_moving,
        sides=sides(sources),
        disagreements=disagreements(sources),
    )

"""Diagnoses payments: reads every record, twice where one moved meanwhile, and says where they disagree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from services.errors import DependencyUnavailable
from services.orchestrator.diagnosis import comparing
from services.orchestrator.diagnosis.comparing import disagreements
from services.orchestrator.diagnosis.domain import Diagnosis, Examination, Recorded, Sources
from services.orchestrator.diagnosis.plan_store import PlanStore
from services.orchestrator.diagnosis.sides import sides
from services.orchestrator.diagnosis.sides import without_plan as sides_without_plan
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
            away: dict[Keeper, str] = {}
            examine = partial(self._examinations.of, [payment_id], with_stripe=with_stripe)
            found = await self._diagnosed(tenant_id, payment_id, examine, away)
            if found is None or not found.is_moving or number == TRIES:
                break
        return found

    async def diagnose_many(self, tenant_id: str, payment_ids: Sequence[str]) -> tuple[list[Diagnosis], bool]:
        """Return the same of payments, without Stripe and at the first reading; and whether everybody was there.

        Those that nobody knows are missing. Who is away for one of them is not waited for once more.
        """
        away: dict[Keeper, str] = {}
        if not payment_ids:
            return [], True
        examined = await _asked(partial(self._examinations.of, payment_ids), Keeper.MIRROR, away, away)

        async def known() -> Mapping[str, Examination]:
            return examined or {}

        found = [await self._diagnosed(tenant_id, one, known, away) for one in payment_ids]
        return [one for one in found if one is not None], not away

    async def _diagnosed(
        self,
        tenant_id: str,
        payment_id: str,
        examine: Callable[[], Awaitable[Mapping[str, Examination]]],
        away: dict[Keeper, str],
    ) -> Diagnosis | None:
        """Read a payment's records between two readings of its plan. Who is away joins those."""
        plan = await self._plans.plan(tenant_id, payment_id)
        before = await self._plans.standing(plan) if plan is not None else None
        if before is None and await self._plans.is_known(tenant_id, payment_id):
            return None  # its start was refused
        problems: dict[Keeper, str] = {}
        kept, quote, examined = await asyncio.gather(
            _asked(partial(self._recorded, payment_id), Keeper.STATUS, problems, away),
            _asked(partial(self._price, plan), Keeper.QUOTE, problems, away),
            _asked(examine, Keeper.MIRROR, problems, away),
        )
        found = (examined or {}).get(payment_id)
        if plan is None or before is None:
            return _without_plan(payment_id, kept, found, problems) if kept is not None or found is not None else None
        after = await self._plans.standing(plan)
        moved = after is None or (before.fence, before.open_requests) != (after.fence, after.open_requests)
        sources = Sources(
            plan=plan,
            told=as_told(plan.latest_snapshot),
            standing=after or before,
            is_moving=moved or (found is not None and found.is_moving),
            recorded=kept,
            price=quote,
            examination=found,
            problems=problems,
        )
        return Diagnosis(
            payment_id=payment_id,
            is_moving=sources.is_moving,
            is_whole=not problems,
            sides=sides(sources),
            disagreements=disagreements(sources),
        )

    async def _recorded(self, payment_id: str) -> Recorded:
        payment = await self._status.payment(payment_id)
        history = await self._status.transitions(payment_id, at_most=HISTORY_MAX)
        if history is not None and len(history) > payment.revision:
            payment = await self._status.payment(payment_id)  # it moved in between
        return recorded(payment, history)

    async def _price(self, plan: Plan | None) -> Price | None:
        has_quote = plan is not None and plan.quote_id
        return price(await self._pricing.quote(has_quote)) if has_quote else None


async def _asked(
    ask: Callable[[], Awaitable[Answer]], keeper: Keeper, problems: dict[Keeper, str], away: dict[Keeper, str]
) -> Answer | None:
    """Return an answer, None where there is no such thing; who does not answer is among the problems."""
    if keeper in away:
        problems[keeper] = away[keeper]
        return None
    try:
        return await ask()
    except Refusal as refusal:
        if refusal.status != NOT_FOUND:
            problems[keeper] = f"It refuses to say: {refusal.reason}."
    except DependencyUnavailable as error:
        problems[keeper] = away[keeper] = str(error)
    return None


def _without_plan(
    payment_id: str, kept: Recorded | None, found: Examination | None, problems: Mapping[Keeper, str]
) -> Diagnosis:
    """Return what others say of a payment of which there is no plan."""
    return Diagnosis(
        payment_id=payment_id,
        is_moving=False,
        is_whole=not problems,
        sides=sides_without_plan(kept, found),
        disagreements=comparing.without_plan(kept, found),
    )

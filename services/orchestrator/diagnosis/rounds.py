"""The due work of looking through recent payments: one step after another, each kept with what it found.

Our own records alone are compared: Stripe is asked by the nightly reconciliation, and by whoever asks of one payment.

What happens if the process dies in a step: nothing of it is kept, and whoever goes on takes it again. Looking changes
nothing, so a step that is taken twice finds the same.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from services.orchestrator.diagnosis.domain import Diagnosis
from services.orchestrator.diagnosis.examiner import Examiner
from services.orchestrator.diagnosis.metrics import FINDINGS_COUNTED_MAX, UNCOUNTED, DiagnosisMetrics, Outcome
from services.orchestrator.diagnosis.round import CONFIRMED_AFTER, EVERY, OVERLAP, RECENT, Round, Step, Walk
from services.orchestrator.diagnosis.round_store import RoundStore
from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.peers.examinations import Examinations
from services.orchestrator.peers.status import Status
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, jittered
from services.runtime.work.loops import repeating
from services.shared.refusals import Refusal

SLICE: Final = 20
"""Payments of a step, each read from three services in a few milliseconds."""
BOOKED_SLICE: Final = 100
"""Of those that money was booked of, which each page looks up among all entries of its time."""
STEPS_MAX: Final = 10
"""Of a turn, before other readings have theirs."""
REST: Final = timedelta(seconds=2)
"""Between two turns of a round: it takes a small part of a process, however many payments there are."""
RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=30), delay_max=timedelta(minutes=15))
"""A round is never given up; an alert says that none comes to its end."""
FIND_EVERY_S: Final = 300.0
"""Between two looks for tenants that are new."""

_logger = logging.getLogger(__name__)


class Rounds:
    """Looks through recent payments, round after round."""

    def __init__(
        self,
        store: RoundStore,
        examiner: Examiner,
        status: Status,
        examinations: Examinations,
        *,
        now: Callable[[], datetime],
        recent: timedelta = RECENT,
        metrics: DiagnosisMetrics = UNCOUNTED,
    ) -> None:
        self._store = store
        self._examiner = examiner
        self._status = status
        self._examinations = examinations
        self._now = now
        self._recent = recent
        self._metrics = metrics
        self.kind = WorkKind(
            name="diagnosis_rounds",
            work_class=WorkClass.READS,
            table="diagnosis_rounds",
            key={"name": "text"},
            retry=RETRY,
            handler=self.go_on,
        )

    async def go_on(self, work: Work) -> None:
        """Take the steps that follow."""
        for _ in range(STEPS_MAX):
            current = await self._store.read(work.tenant_id, fence=work.fence)
            if current is None:
                return
            if await self._step(current, fence=work.fence):
                until = current.begin_time - OVERLAP
                is_new = await self._store.finish(current, booked_time=until, fence=work.fence)
                raise RetryLater(CONFIRMED_AFTER if is_new else jittered(EVERY))
        raise RetryLater(REST)

    async def look(self) -> None:
        """Show what stands."""
        oldest = await self._store.oldest()
        age = timedelta() if oldest is None else self._now() - oldest
        self._metrics.stand(await self._store.standing(at_most=FINDINGS_COUNTED_MAX), age=age)

    async def find_tenants(self) -> None:
        """Have a round of each tenant that has payments."""
        await self._store.find_tenants()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Find tenants while inside."""
        async with repeating(self.find_tenants, name="diagnosis", every_s=FIND_EVERY_S):
            yield

    async def _step(self, current: Round, *, fence: int) -> bool:
        """Look at the payments that follow, and keep what was found; return whether the round is at its end."""
        if current.is_new:
            current = replace(current, begin_time=self._now())
        step = await self._next(current)
        found, is_heard = await self._examiner.diagnose_many(current.tenant_id, step.payment_ids)
        for one in found:
            outcome = _outcome(one)
            self._metrics.looked_at(outcome)
            if outcome is Outcome.DISAGREES and not all(each.waits_for for each in one.disagreements):
                names = sorted({each.check.name for each in one.disagreements})
                shown = {"payment_id": one.payment_id, "checks": names}
                _logger.warning("records disagree", extra={"fields": shown})
        following = current.walk if step.place else current.next_walk()
        undecided = {one.payment_id for one in found if _outcome(one) in (Outcome.MOVING, Outcome.SILENT)}
        known = {one.payment_id for one in found}
        await self._store.keep(
            current,
            [one for one in found if one.payment_id not in undecided],
            # A payment that nobody knows any more has nothing that could disagree.
            decided=[one for one in step.payment_ids if one not in undecided and (one in known or is_heard)],
            walk=following or current.walk,
            place=step.place,
            looked_at=len(step.payment_ids),
            fence=fence,
        )
        return following is None

    async def _next(self, current: Round) -> Step:
        match current.walk:
            case Walk.FINDINGS:
                ids = await self._store.with_findings(current.tenant_id, after=current.place, at_most=SLICE)
                return _by_id(ids, SLICE)
            case Walk.OPENED:
                return await self._opened(current)
            case Walk.BOOKED:
                since = min(current.booked_time, current.begin_time - OVERLAP)
                ids = await self._examinations.booked(
                    since=since, until=current.begin_time, after=current.place, at_most=BOOKED_SLICE
                )
                return _by_id(ids, BOOKED_SLICE)

    async def _opened(self, current: Round) -> Step:
        """Return the next page of the newest payments; one that has older ones is the last."""
        try:
            page = await self._status.newest(page_token=current.place, page_size=SLICE)
        except Refusal as refusal:
            if refusal.reason != PageTokenInvalid.reason:
                raise
            page = await self._status.newest(page_token="", page_size=SLICE)  # of another release: from the begin
        since = current.begin_time - self._recent
        recent = [one.payment_id for one in page.payments if one.open_time.ToDatetime(UTC) >= since]
        is_last = len(recent) < len(page.payments)
        return Step(payment_ids=tuple(recent), place="" if is_last else page.next_page_token)


def _outcome(one: Diagnosis) -> Outcome:
    if one.is_moving:
        return Outcome.MOVING
    if not one.is_whole:
        return Outcome.SILENT
    return Outcome.DISAGREES if one.disagreements else Outcome.AGREES


def _by_id(ids: list[str], size: int) -> Step:
    return Step(payment_ids=tuple(ids), place=ids[-1] if len(ids) == size else "")

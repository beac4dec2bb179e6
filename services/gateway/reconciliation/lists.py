"""Compares a page of a list of Stripe's with what we hold, in both directions; and mends what is safe to mend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from services.gateway.reconciliation.domain import (
    OPEN_MAX,
    YOUNG,
    Finding,
    Kind,
    Shown,
    Stage,
    Sums,
    compare,
    missing_there,
)
from services.gateway.reconciliation.ours import Ours
from services.gateway.reconciliation.position import Page, Position, Span
from services.gateway.reconciliation.repairs import Repairs
from services.gateway.reconciliation.run import Run
from services.gateway.reconciliation.store import ReconciliationStore, Step
from services.gateway.reconciliation.theirs import LISTS, Theirs
from services.gateway.sync.reader import MirrorReader

ASKED_AT_ONCE: Final = 20
"""Of what Stripe did not list: read one by one in one step."""
WENT_BACK: Final = frozenset({"reversed", "given back"})
"""Figures that count below zero in a sum."""
TOO_MANY: Final = "More of ours is not at Stripe than a page says: is it the right account, and the right database?"


class ListComparison:
    """Takes one step in a list."""

    def __init__(
        self,
        theirs: Theirs,
        ours: Ours,
        store: ReconciliationStore,
        *,
        reader: MirrorReader,
        repairs: Repairs,
        now: Callable[[], datetime],
    ) -> None:
        self._theirs = theirs
        self._ours = ours
        self._store = store
        self._reader = reader
        self._repairs = repairs
        self._now = now

    async def step(self, run: Run, position: Position) -> Step:
        """Compare the page that follows, or ask for what no page showed."""
        if position.is_read:
            return await self._ask(run, position)
        day = run.span.day(position.day)
        page = await self._theirs.page(position, day)
        recorded = await self._store.of_step(run, run.steps - 1) if position.is_mending else []
        reasons = await self._repairs.mend(run, recorded, page) if recorded else {}
        findings, sums = await self._compared(run, position, page)
        if findings and run.repairs and not position.is_mending:
            return Step(position=replace(position, is_mending=True), counted=run.counted, findings=findings)
        still = {_key(one) for one in findings}
        before = {_key(one) for one in recorded}
        after = position.page(page, window=await self._window(run, position, page, day))
        return Step(
            position=_onwards(after, run),
            counted=run.with_sums(position.stage, sums),
            findings=[one for one in findings if _key(one) not in before],
            mended=[
                replace(one, repaired=_key(one) not in still, repair_reason=reasons.get(_key(one), ""))
                for one in recorded
            ],
            cut_short=TOO_MANY if len(after.open) > OPEN_MAX else "",
        )

    async def _compared(self, run: Run, position: Position, page: Page) -> tuple[list[Finding], Sums]:
        held = await self._ours.held(run.tenant_id, position.stage, page.shown)
        findings: list[Finding] = []
        sums = Sums()
        young = self._now() - YOUNG
        for shown in page.shown:
            different = [*compare(position.stage, shown, held.get(shown.stripe_id)), *await self._contents(shown)]
            if different and shown.create_time > young:
                sums.transit(shown.currency_code, _minor(shown))
            elif different:
                findings += [await self._owned(run, shown, one) for one in different]
            elif any(shown.figures.values()):
                sums.match(shown.currency_code, _minor(shown))
        return findings, sums

    async def _contents(self, shown: Shown) -> Iterable[Finding]:
        """Return whether a payout is not what its balance transactions come to."""
        if shown.made_of_minor is None:
            return ()
        found = await self._theirs.payout_minor(shown.stripe_id)
        if found in (None, shown.made_of_minor):
            return ()
        return (
            Finding(
                kind=Kind.PAYOUT,
                stage=Stage.PAYOUTS,
                stripe_id=shown.stripe_id,
                figure="contents",
                currency_code=shown.currency_code,
                ours_minor=found or 0,
                theirs_minor=shown.made_of_minor,
                detail="Its balance transactions at Stripe come to another amount.",
            ),
        )

    async def _owned(self, run: Run, shown: Shown, finding: Finding) -> Finding:
        """Return a finding with its payment."""
        for stripe_id in () if finding.payment_id else shown.related_ids:
            payment_id = await self._reader.payment_of(run.tenant_id, stripe_id)
            if payment_id is not None:
                return replace(finding, payment_id=payment_id)
        return finding

    async def _window(self, run: Run, position: Position, page: Page, day: Span) -> Sequence[str]:
        """Return what we hold of the time between the page before and the end of this one, and no page shows so far."""
        since = page.oldest_time if page.has_more and page.oldest_time is not None else day.since
        span = Span(since=since, until=position.time or day.until)
        if span.since >= span.until:
            return ()
        known = [*(one.stripe_id for one in page.shown), *position.before, *position.open]
        found = await self._ours.between(run.tenant_id, position.stage, span, known=known)
        return [one for one in found if one.startswith(LISTS[position.stage].prefixes)]

    async def _ask(self, run: Run, position: Position) -> Step:
        """Read what was in no list: it is gone, or belongs to another day."""
        ids = position.open[:ASKED_AT_ONCE]
        asked = [_unseen(one, self._now()) for one in ids]
        held = await self._ours.held(run.tenant_id, position.stage, asked)
        findings: list[Finding] = []
        for stripe_id in ids:
            shown = await self._theirs.find(position.stage, stripe_id)
            ours = held.get(stripe_id)
            if shown is None:
                findings += missing_there(position.stage, ours) if ours is not None else ()
            else:
                findings += compare(position.stage, shown, ours)
        return Step(position=_onwards(position.asked(ids), run), counted=run.counted, findings=findings)


def _onwards(position: Position, run: Run) -> Position | None:
    is_done = position.is_read and not position.open
    return position.next_stage(run.span.days) if is_done else position


def _unseen(stripe_id: str, now: datetime) -> Shown:
    return Shown(stripe_id=stripe_id, currency_code="", figures={}, create_time=now)


def _minor(shown: Shown) -> int:
    """Return what an object counts in a sum: its first figure, which says what moved."""
    name, minor = next(iter(shown.figures.items()))
    return -minor if name in WENT_BACK else minor


Key = tuple[Kind, str, str, str]


def _key(finding: Finding) -> Key:
    return finding.kind, finding.stripe_id, finding.figure, finding.currency_code

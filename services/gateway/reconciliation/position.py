"""How far a run has come: a stage of a day, and a page of that. Pure.

A list of Stripe's is read the newest first. With each page go those objects of ours whose time is between its oldest
and the oldest of the page before: what is among them and not on the page stays open until a later page shows it. Clocks
differ by seconds, so what the page before showed is remembered, too. What is open at the end of the day is asked for,
one by one. So both directions are compared while no more than two pages are held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.gateway.balance.domain import BalanceTransaction
from services.gateway.reconciliation.domain import AT_LAST, DAILY, LISTS, Shown, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a list of Stripe's."""

    shown: tuple[Shown, ...]
    """What is on it, and what belongs to that and has no list of its own."""
    last_id: str
    oldest_time: datetime | None
    has_more: bool
    transactions: tuple[BalanceTransaction, ...] = ()
    """Of the list of balance transactions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run is."""

    day: int = 0
    """Which day of the span, from 0; the number of days once all are compared."""
    stage: Stage = DAILY[0]
    after: str = ""
    """Of a list: the last object of the page before."""
    time: datetime | None = None
    """Of a list: the time of that. Of our own books: until when they are compared. None at the begin."""
    is_read: bool = False
    """Of a list: all pages are read, and what is open is asked for."""
    before: tuple[str, ...] = ()
    """Of a list: what the page before showed."""
    open: tuple[str, ...] = ()
    """Of a list: objects of ours that were not shown so far."""
    is_mending: bool = False
    """What is different of the next page is kept, and is to be mended before it goes on."""

    def page(self, page: Page, *, window: Sequence[str]) -> Position:
        """Return where it is after a page, given the objects of ours that belong to it."""
        ids = [one.stripe_id for one in page.shown]
        known = {*ids, *self.before}
        still = tuple(dict.fromkeys(one for one in (*self.open, *window) if one not in known))
        if not page.has_more:
            return replace(self, is_read=True, is_mending=False, before=(), open=still)
        return Position(
            day=self.day, stage=self.stage, after=page.last_id, time=page.oldest_time, before=tuple(ids), open=still
        )

    def asked(self, ids: Sequence[str]) -> Position:
        """Return where it is after some of what was open were asked for."""
        return replace(self, open=tuple(one for one in self.open if one not in set(ids)))

    def next_stage(self, days: int) -> Position | None:
        """Return where it is after a stage; None at the end of the run."""
        if self.day < days:
            place = DAILY.index(self.stage) + 1
            if place < len(DAILY):
                return Position(day=self.day, stage=DAILY[place])
            is_last = self.day + 1 == days
            return Position(day=self.day + 1, stage=AT_LAST[0] if is_last else DAILY[0])
        place = AT_LAST.index(self.stage) + 1
        return Position(day=self.day, stage=AT_LAST[place]) if place < len(AT_LAST) else None

    @property
    def is_list(self) -> bool:
        """Whether a list of Stripe's is being compared."""
        return self.stage in LISTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From one second to another, without that."""

    since: datetime
    until: datetime

    @property
    def days(self) -> int:
        """How many days it has: 24 hours each from its begin, the last one perhaps shorter."""
        return -(-(self.until - self.since) // timedelta(days=1))

    def day(self, number: int) -> Span:
        """Return one of its days."""
        since = self.since + timedelta(days=number)
        return Span(since=since, until=min(since + timedelta(days=1), self.until))

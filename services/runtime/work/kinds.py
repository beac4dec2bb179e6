"""Kinds of work: which rows of which table, how many at once, how often they are tried."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

import asyncpg

from services.shared.text import storable, without_addresses

PROBLEM_CHARACTERS_MAX: Final = 2_000
JITTER: Final = 0.2
"""Part of a delay that is random, so that what failed together is not tried again together."""


class WorkClass(StrEnum):
    """Each has slots of its own, so that a pile of one class never holds up another."""

    MONEY = "money"
    """Payments to be moved on, and calls whose outcome is unknown."""
    EVENTS = "events"
    """What Stripe reported."""
    DELIVERIES = "deliveries"
    """What another service of ours has to get."""
    EXPIRIES = "expiries"
    """Payments whose payer is gone."""
    READS = "reads"
    """What is looked at again from time to time, just in case."""
    FEEDS = "feeds"
    """Streams that are followed, a row each."""
    MAILS = "mails"
    """What a mail server has to get."""
    HOOKS = "hooks"
    """What the platform's own systems have to get, each at its own pace."""


SLOTS: Final[Mapping[WorkClass, int]] = {
    WorkClass.MONEY: 16,
    WorkClass.EVENTS: 16,
    WorkClass.DELIVERIES: 16,
    WorkClass.EXPIRIES: 4,
    WorkClass.READS: 2,
    WorkClass.FEEDS: 64,
    WorkClass.MAILS: 8,
    WorkClass.HOOKS: 64,
}
"""Rows of a class that one process works on at once; mostly they wait for another process."""


class Backoff(StrEnum):
    """How the rest grows from one failure to the next."""

    EXPONENTIAL = "exponential"
    """Doubles."""
    LINEAR = "linear"
    """Grows by the first delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often work is tried, and how long it rests in between."""

    tries_max: int | None
    """None: until it succeeds."""
    first_delay: timedelta
    backoff: Backoff = Backoff.EXPONENTIAL
    delay_max: timedelta = timedelta(minutes=5)

    def delay(self, failures: int) -> timedelta | None:
        """Return the rest after that many failures, the last included, without jitter; None if that was the last."""
        if self.tries_max is not None and failures >= self.tries_max:
            return None
        # The exponent has a bound, or the power of what is tried for days no longer fits a number.
        factor = failures if self.backoff is Backoff.LINEAR else 2 ** min(failures - 1, 30)
        return min(self.first_delay * factor, self.delay_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What takes turns within a tenant, such as a receiver: a pile of one, or one that is slow, holds up no other.

    The index of what is due is then `(tenant_id, column, due_time)`.
    """

    column: str
    """The first of the kind's `key`."""
    at_once: int
    """Rows of one that a process works on at once."""
    rests: str = "false"
    """Which rests, and has nothing begun: in SQL, of `g.tenant_id` and `g.turn`; `{now}` is the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One row that is due, under a lease."""

    kind: WorkKind
    tenant_id: str
    key: tuple[str, ...]
    """What names the row within its tenant, in the order of the kind's `key`."""
    fence: int
    failures: int
    """In a row, until now."""
    trace_context: str | None = None
    """Of what made it due."""

    @property
    def name(self) -> str:
        """Names the row in logs."""
        return "/".join((self.kind.name, *self.key))


Handler = Callable[[Work], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorkKind:
    """The rows of one table that one handler works on.

    The handler may run twice, even at the same time after a stall, so what it does is idempotent. When it returns, the
    row is done. It raises `RetryLater` to be run again, and anything else when it failed.
    """

    name: str
    """In logs and in the ids of dead letters; never changes."""
    work_class: WorkClass
    table: str
    key: Mapping[str, str]
    """The columns that name a row within its tenant, with their SQL types."""
    retry: RetryPolicy
    handler: Handler
    where: str = "true"
    """Which rows of the table are of this kind."""
    about: str = "NULL::text"
    """What kind of thing a row `w` is about, in SQL: by this dead letters are told apart."""
    handler_releases: bool = False
    """The handler takes the lease over: it renews it, and releases the row with a new fence and due time."""
    turns: Turns | None = None
    """What takes turns, besides the tenants."""

    @property
    def keeps_tries(self) -> bool:
        """Whether its rows keep each try that failed: where they may be given up, and an operator has to decide."""
        return self.retry.tries_max is not None


class RetryLater(Exception):
    """Raised by a handler: nothing failed, run me again after this delay."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__(f"again in {delay}")
        self.delay = delay


def problem_of(error: Exception) -> str:
    """Return what a row keeps of a failure, whatever text is in it: without the values that a database quotes."""
    said = str(error)
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        said = str(error.args[0] if error.args else "").partition(":")[0]  # then comes a value; its detail has the row
    return storable(without_addresses(f"{type(error).__name__}: {said}"), characters_max=PROBLEM_CHARACTERS_MAX)


def jittered(delay: timedelta) -> timedelta:
    """Return `delay`, lengthened at random by up to `JITTER`."""
    return delay * random.uniform(1, 1 + JITTER)  # noqa: S311 spreads load, guards nothing

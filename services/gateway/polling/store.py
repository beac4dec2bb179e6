"""The rows of readings: how far each has come. What they mean is said in `poller`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.gateway.errors import StripeUnavailable
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.statements import demand

PLATFORM: Final = ""
"""In place of a seller's account: the platform's own events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A reading that is under way, from its beginning back to `since`."""

    begin_time: datetime
    since: datetime
    until: datetime | None = None
    """Where a look for what came late begins, which is read by now; None of a reading of what is new."""
    newest_time: datetime | None = None
    """The newest event's that it has seen, by Stripe's clock."""
    after_id: str = ""
    """The oldest event that it has come to; empty before the first page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far the events of one account were read."""

    newest_time: datetime
    """The newest event's that was seen by a reading that came to its end; before the first, where reading begins."""
    read_time: datetime
    """When that reading began, by our clock; before the first, since when there is something to read."""
    sweep_time: datetime
    """When the last look for what came late ended; before the first, since when there is something to read."""
    under_way: Reading | None
    sweep: Reading | None
    """The look for what came late that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How reading stands."""

    oldest_time: datetime | None
    """Of all accounts, when the one was read that was not for the longest; None where none is read."""
    gap: timedelta
    """For how long nobody read, of what Stripe had listed; nothing where that is not so, or long ago."""


class PollStore:
    """Reads and writes the rows. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections, *, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock

    async def begin(self, tenant_id: str) -> None:
        """Make the platform's reading due, unless it is."""
        async with self._connections.statement("poll.begin") as connection:
            await connection.execute(_BEGIN, tenant_id, self._clock.shift, self._clock.now())

    async def join_accounts(self, tenant_id: str) -> None:
        """Make a reading due of each seller's account that has none."""
        async with self._connections.statement("poll.join") as connection:
            await connection.execute(_JOIN, tenant_id, self._clock.shift, self._clock.now())

    async def position(self, tenant_id: str, account: str) -> Position:
        """Return how far an account was read. Raises StripeUnavailable while it was not seen whose key we have."""
        async with self._connections.statement("poll.position") as connection:
            row = await connection.fetchrow(_POSITION, tenant_id, account, LATE_FOR)
        if row is None:
            raise StripeUnavailable
        under_way = None
        if row["begin_time"] is not None:
            under_way = Reading(
                begin_time=row["begin_time"],
                since=row["since"],
                newest_time=row["reading_newest_time"],
                after_id=row["after_id"],
            )
        sweep = None
        if row["sweep_begin_time"] is not None:
            sweep = Reading(
                begin_time=row["sweep_begin_time"],
                since=row["sweep_since"],
                until=row["sweep_until"],
                after_id=row["sweep_after_id"],
            )
        return Position(
            newest_time=row["newest_time"],
            read_time=row["read_time"],
            sweep_time=row["sweep_time"],
            under_way=under_way,
            sweep=sweep,
        )

    async def start(
        self,
        tenant_id: str,
        account: str,
        reading: Reading,
        sweep: Reading | None,
        *,
        gap_from: datetime | None,
        gap_to: datetime,
    ) -> None:
        """Keep that a reading begins, and with it a look for what came late, unless that is None and goes on as it is.

        With `gap_from` also between which times something may be missing.
        """
        async with self._connections.statement("poll.start") as connection:
            await connection.execute(
                _START,
                tenant_id,
                account,
                reading.begin_time,
                reading.since,
                gap_from,
                gap_to,
                sweep.since if sweep is not None else None,
                sweep.until if sweep is not None else None,
            )

    async def keep(self, tenant_id: str, account: str, reading: Reading) -> None:
        """Keep how far a reading has come: what it came by is in the inbox."""
        key = (tenant_id, account, reading.begin_time)
        async with self._connections.statement("poll.keep") as connection:
            if reading.until is None:
                await connection.execute(_KEEP, *key, reading.newest_time, reading.after_id)
            else:
                await connection.execute(_KEEP_SWEEP, *key, reading.after_id)

    async def finish(self, tenant_id: str, account: str, reading: Reading) -> None:
        """Keep that a reading has come to its end."""
        key = (tenant_id, account, reading.begin_time)
        async with self._connections.statement("poll.finish") as connection:
            if reading.until is None:
                await connection.execute(_FINISH, *key, reading.newest_time)
            else:
                await connection.execute(_FINISH_SWEEP, *key, self._clock.now())

    async def missing(self, tenant_id: str, event_ids: Sequence[str]) -> list[str]:
        """Return which of some events are not in the inbox, in the order in which they are given."""
        if not event_ids:
            return []
        async with self._connections.statement("poll.missing") as connection:
            known = {row["event_id"] for row in await connection.fetch(_KNOWN, tenant_id, list(event_ids))}
        return [event_id for event_id in event_ids if event_id not in known]

    async def is_ours(self, tenant_id: str, account: str) -> bool:
        """Whether an account is a seller's and open to us."""
        async with self._connections.statement(None) as connection:
            return bool(await connection.fetchval(_IS_OURS, tenant_id, account))

    async def count(self, tenant_id: str) -> int:
        """Return how many sellers' accounts are read."""
        async with self._connections.statement(None) as connection:
            count: int = await connection.fetchval(_COUNT, tenant_id)
        return count

    async def standing(self, tenant_id: str, *, gap_after: datetime) -> Standing:
        """Return how reading stands; a gap counts if it was noticed after `gap_after`."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(_STANDING, tenant_id, gap_after)
        return Standing(oldest_time=row["oldest_time"], gap=row["gap"] or timedelta())


LATE_FOR: Final = timedelta(hours=1)
"""How late Stripe may list an event and it is still found; and how long before an account became ours reading begins,
the platform's or a seller's, since our clock may be ahead of Stripe's."""

_BEGIN: Final = """
INSERT INTO event_polls (tenant_id, account, create_time, due_time) VALUES ($1, '', $3, now() + $2::interval)
ON CONFLICT ON CONSTRAINT event_polls_pkey
DO UPDATE SET due_time = coalesce(event_polls.due_time, excluded.due_time)"""

_JOIN: Final = f"""
INSERT INTO event_polls (tenant_id, account, create_time, due_time)
SELECT s.tenant_id, s.stripe_account_id, $3, now() + $2::interval FROM seller_accounts s
WHERE s.tenant_id = $1 AND s.stripe_account_id IS NOT NULL AND NOT s.gone AND NOT EXISTS (
    SELECT FROM event_polls p
    WHERE p.tenant_id = s.tenant_id AND p.account = s.stripe_account_id AND p.due_time IS NOT NULL)
ON CONFLICT ON CONSTRAINT event_polls_pkey
DO UPDATE SET {demand("$2::interval", "event_polls")}"""  # noqa: S608 our own names

_POSITION: Final = """
SELECT coalesce(p.newest_time, coalesce(s.create_time, a.pin_time) - $3::interval) AS newest_time,
    coalesce(p.read_time, p.create_time) AS read_time, coalesce(p.sweep_time, p.create_time) AS sweep_time,
    p.begin_time, p.since, p.reading_newest_time, p.after_id,
    p.sweep_begin_time, p.sweep_since, p.sweep_until, p.sweep_after_id
FROM stripe_accounts a JOIN event_polls p ON p.tenant_id = a.tenant_id
    LEFT JOIN seller_accounts s ON s.tenant_id = p.tenant_id AND s.stripe_account_id = p.account
WHERE a.tenant_id = $1 AND p.account = $2"""

_START: Final = """
UPDATE event_polls SET begin_time = $3, since = $4, reading_newest_time = NULL, after_id = '',
    gap_from = coalesce($5, gap_from), gap_to = CASE WHEN $5 IS NULL THEN gap_to ELSE $6::timestamptz END,
    gap_time = CASE WHEN $5 IS NULL THEN gap_time ELSE $3 END,
    sweep_begin_time = CASE WHEN $7::timestamptz IS NULL THEN sweep_begin_time ELSE $3 END,
    sweep_since = coalesce($7, sweep_since), sweep_until = coalesce($8, sweep_until),
    sweep_after_id = CASE WHEN $7::timestamptz IS NULL THEN sweep_after_id ELSE '' END
WHERE tenant_id = $1 AND account = $2"""

_KEEP: Final = """
UPDATE event_polls SET reading_newest_time = $4, after_id = $5
WHERE tenant_id = $1 AND account = $2 AND begin_time = $3"""

_FINISH: Final = """
UPDATE event_polls SET newest_time = greatest(newest_time, $4), read_time = $3,
    begin_time = NULL, since = NULL, reading_newest_time = NULL, after_id = ''
WHERE tenant_id = $1 AND account = $2 AND begin_time = $3"""

_KEEP_SWEEP: Final = """
UPDATE event_polls SET sweep_after_id = $4
WHERE tenant_id = $1 AND account = $2 AND sweep_begin_time = $3"""

_FINISH_SWEEP: Final = """
UPDATE event_polls SET sweep_time = $4, sweep_begin_time = NULL, sweep_since = NULL, sweep_until = NULL,
    sweep_after_id = ''
WHERE tenant_id = $1 AND account = $2 AND sweep_begin_time = $3"""

_KNOWN: Final = "SELECT event_id FROM events WHERE tenant_id = $1 AND event_id = ANY($2)"

_IS_OURS: Final = """
SELECT EXISTS (SELECT FROM seller_accounts WHERE tenant_id = $1 AND stripe_account_id = $2 AND NOT gone)"""

_COUNT: Final = "SELECT count(*) FROM event_polls WHERE tenant_id = $1 AND account <> '' AND due_time IS NOT NULL"

_STANDING: Final = """
SELECT min(coalesce(read_time, create_time)) AS oldest_time,
    max(gap_to - gap_from) FILTER (WHERE gap_time > $2) AS gap
FROM event_polls WHERE tenant_id = $1 AND due_time IS NOT NULL"""

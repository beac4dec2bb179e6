"""Stripe's events from their arrival to the orchestrator, beside a bare insert of the same rows.

They come as in a bad hour: in a burst over Stripe's connections, in any order, a part of them twice. Of those that fail
at first half are refused by a database whose disk is full, and half by a bug that shows after they were applied. Then
others come at a steady pace, and each answer is timed from when its request was due. At the end every event has to be
done, and each payment to be what Stripe made of it, at Stripe, in the mirror, in the ledger and for the orchestrator.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from bench.arrivals import (
    AMOUNT_MINOR,
    AT_ONCE,
    FEE_MINOR,
    REFUNDS_MINOR,
    Arriving,
    Place,
    each_of,
    paced,
    running_place,
    shuffled,
)
from bench.database import TENANT, executed
from bench.figures import Figures, Result, median, ms, percentile
from bench.goals import COLUMNS, at_most, bounded, judged, shown
from services.runtime.database.connections import plain_dsn

EVENTS: Final = 10_000
ROUNDS: Final = 2
EVENTS_EACH: Final = 11
"""Of a payment that is paid and refunded twice."""
STEADY: Final = 0.25
"""As many events come at a steady pace, beside those of the bursts."""
DUPLICATES: Final = 0.2
FAILING: Final = 0.05
RATE_PER_S: Final = 200.0
SEED: Final = 20
"""Of the order and of what fails."""

ACK: Final = at_most(50)
"""Milliseconds."""
NOTHING: Final = at_most(0)

_BARE: Final = "CREATE TABLE bare_events (LIKE events, PRIMARY KEY (tenant_id, event_id))"
_ROWS: Final = "SELECT * FROM events WHERE tenant_id = $1 AND event_id = ANY($2::text[])"
_WRONG: Final = """
SELECT p.payment_id FROM payments p,
LATERAL (SELECT array_agg(r.amount_minor ORDER BY r.amount_minor) AS amounts FROM refunds r
    WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id AND r.state = 'SUCCEEDED') AS r,
LATERAL (SELECT array_agg(m.each ORDER BY m.each COLLATE "C") AS amounts
    FROM (SELECT kind || ' ' || (mirrored ->> 'charge_minor') AS each FROM movements
        WHERE tenant_id = p.tenant_id AND payment_id = p.payment_id) AS m) AS m,
LATERAL (SELECT sum(amount_minor) FILTER (WHERE account = 'seller') AS seller_minor,
        sum(amount_minor) FILTER (WHERE account = 'platform_fee') AS fee_minor FROM ledger_entries
    WHERE tenant_id = p.tenant_id AND payment_id = p.payment_id) AS l
WHERE (p.observation -> 'amounts' ->> 'captured_minor', p.observation -> 'amounts' ->> 'refunded_minor', r.amounts,
    m.amounts, l.seller_minor, l.fee_minor)
    IS DISTINCT FROM ($1::text, $2::text, $3::bigint[], $4::text[], 0, $5::bigint)
"""

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Burst:
    """One round."""

    events: int
    arrivals: int
    taken_s: float = 0.0
    done_s: float = 0.0
    bare_s: float = 0.0
    """What PostgreSQL took for the same rows."""
    refused: int = 0
    failed: int = 0


@dataclass(slots=True, kw_only=True)
class Steady:
    """What came at a steady pace, in seconds."""

    acks: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    to_sink: list[float] = field(default_factory=list)


async def measure(say: Say, *, events: int = EVENTS) -> Result:
    """Run the bench, in about three minutes."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-webhooks-")))
        folder.chmod(0o711)  # noqa: ASYNC240 once
        say("a gateway is started")
        place = await stack.enter_async_context(running_place(folder / "suite"))
        await executed(place.suite.owner_url("gateway"), _BARE)
        bare = [await asyncpg.connect(plain_dsn(place.suite.owner_url("gateway"))) for _ in range(AT_ONCE)]
        for one in bare:
            stack.push_async_callback(one.close)
        bench = _Bench(place, bare, say)
        bursts = [await bench.burst(events // ROUNDS, number=number) for number in range(ROUNDS)]
        steady = await bench.steady(round(events * STEADY))
        say("what came of it is looked at")
        wrong = await bench.wrong()
    return Result(
        title="Stripe's events",
        tables=[_table(bursts, steady, wrong, bench.sent)],
        rounds=[*(asdict(one) for one in bursts), {"steady": asdict(steady), "wrong": wrong}],
    )


class _Bench:
    def __init__(self, place: Place, bare: Sequence[asyncpg.Connection], say: Say) -> None:
        self._place = place
        self._free = list(bare)
        self._is_free = asyncio.Semaphore(len(bare))
        self._say = say
        self._chance = random.Random(SEED)
        self._payments: list[str] = []
        self.sent: set[str] = set()

    async def burst(self, count: int, *, number: int) -> Burst:
        """Send events as fast as they are taken, some of which fail at first."""
        events = await self._made(count)
        failing = self._chance.sample(events, round(len(events) * FAILING))
        await self._place.break_for(failing[::2], failing[1::2])
        before = await self._place.failed()
        arrivals = shuffled(events, self._chance, duplicates=DUPLICATES)
        found = Burst(events=len(events), arrivals=len(arrivals))
        await executed(self._place.postgres.server.admin_url, "CHECKPOINT")
        self._say(f"round {number + 1} of {ROUNDS}: {len(arrivals)} arrivals")
        began = time.perf_counter()
        await each_of(arrivals, self._taken)
        found.taken_s = time.perf_counter() - began
        await self._place.until_done()
        found.done_s = time.perf_counter() - began
        after = await self._place.failed()
        found.refused, found.failed = after[0] - before[0], after[1] - before[1]
        rows = await self._rows(events)
        await executed(self._place.postgres.server.admin_url, "CHECKPOINT")
        self._say(f"round {number + 1} of {ROUNDS}: the same rows, bare")
        began = time.perf_counter()
        await each_of(rows, self._inserted)
        found.bare_s = time.perf_counter() - began
        return found

    async def steady(self, count: int) -> Steady:
        """Send events at a steady pace; and the same rows at the same pace to a bare table."""
        events = await self._made(count)
        arrivals = shuffled(events, self._chance, duplicates=DUPLICATES)
        found, first_at = Steady(), dict[str, float]()

        async def send(event: Arriving) -> None:
            first_at.setdefault(event.payment_id, time.perf_counter())
            await self._taken(event)

        self._say(f"{len(arrivals)} arrivals at {RATE_PER_S:.0f}/s")
        found.acks = await paced(arrivals, send, per_s=RATE_PER_S)
        await self._place.until_done()
        heard_at = self._place.sink.first_at
        found.to_sink = [heard_at[payment_id] - at for payment_id, at in first_at.items() if payment_id in heard_at]
        self._say("the same rows at the same pace, bare")
        found.bare = await paced(await self._rows(events), self._inserted, per_s=RATE_PER_S)
        return found

    async def wrong(self) -> dict[str, int]:
        """Return what is not as it has to be: of events, and of payments where Stripe's are what they have to be."""
        place, owner = self._place, self._place.owner
        done = await owner.fetch("SELECT event_id FROM events WHERE state = 'DONE'")
        stored = await owner.fetchval("SELECT count(*) FROM events")
        refunded = sum(REFUNDS_MINOR)
        fees = [FEE_MINOR * one // AMOUNT_MINOR for one in REFUNDS_MINOR]
        moved = [f"TRANSFER {AMOUNT_MINOR}", f"FEE {FEE_MINOR}"]
        moved += [*(f"REVERSAL {one}" for one in REFUNDS_MINOR), *(f"FEE_REFUND {one}" for one in fees)]
        mirrored = await owner.fetch(
            _WRONG, str(AMOUNT_MINOR), str(refunded), sorted(REFUNDS_MINOR), sorted(moved), sum(fees) - FEE_MINOR
        )
        has_minor = AMOUNT_MINOR - refunded - FEE_MINOR + sum(fees)
        told = 0
        for payment_id in self._payments:
            heard = place.sink.last.get(payment_id)
            amounts = heard and (heard.amounts.captured_minor, heard.amounts.refunded_minor)
            sellers = heard and [(one.owed_minor, one.transferred_minor) for one in heard.sellers]
            told += (amounts, sellers) != ((AMOUNT_MINOR, refunded), [(has_minor, has_minor)])
        transfers = await place.stripe.objects("transfer")
        return {
            "events not done": len(self.sent - {row["event_id"] for row in done}),
            "events stored more than once": stored - len(self.sent),
            "payments that are not so in the mirror and the ledger": len(mirrored),
            "payments of which the orchestrator heard otherwise": told,
            "transfers of which too much or too little went back": len(self._payments)
            - sum(one["amount_reversed"] == refunded for one in transfers),
        }

    async def _made(self, count: int) -> list[Arriving]:
        payments = -(-count // EVENTS_EACH)
        self._say(f"{payments} payments are paid and refunded at Stripe")
        events = await self._place.events_of(payments)
        assert len(events) == payments * EVENTS_EACH, f"{len(events)} events of {payments} payments"
        self._payments += dict.fromkeys(one.payment_id for one in events)
        self.sent |= {one.event_id for one in events}
        return events

    async def _taken(self, event: Arriving) -> None:
        await self._place.take(event)

    async def _rows(self, events: Sequence[Arriving]) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._place.owner.fetch(_ROWS, TENANT, [one.event_id for one in events])
        return rows

    async def _inserted(self, row: asyncpg.Record) -> None:
        values = ", ".join(f"${number + 1}" for number in range(len(row)))
        async with self._is_free:
            connection = self._free.pop()
            try:
                await connection.execute(f"INSERT INTO bare_events VALUES ({values})", *row.values())
            finally:
                self._free.append(connection)


def _table(bursts: list[Burst], steady: Steady, wrong: dict[str, int], sent: set[str]) -> Figures:
    def per_s(count: str, seconds: str) -> str:
        return f"{median(getattr(one, count) / getattr(one, seconds) for one in bursts):,.0f}"

    def quantiles(values: list[float]) -> tuple[str, float]:
        p99 = percentile(values, 0.99)
        return f"{ms(percentile(values, 0.5))} / {ms(p99)}", p99 * 1_000

    acks, ack_ms = quantiles(steady.acks)
    refused, failed = (sum(getattr(one, name) for one in bursts) for name in ("refused", "failed"))
    return Figures(
        title=f"{len(sent):,} events, {DUPLICATES:.0%} of them twice, in any order",
        columns=COLUMNS,
        rows=[
            *(bounded(f"**{what}**", str(count), count, NOTHING) for what, count in wrong.items()),
            judged(
                "events/s in a burst until each is taken; inserts/s of the same rows into a table with a key alone",
                per_s("events", "taken_s"),
                per_s("events", "bare_s"),
                [one.bare_s / one.taken_s for one in bursts],
            ),
            judged(
                "events/s until all is done that follows from them",
                per_s("events", "done_s"),
                per_s("events", "bare_s"),
                [one.bare_s / one.done_s for one in bursts],
            ),
            bounded(
                f"**answered at {RATE_PER_S:.0f}/s: p50 / p99, ms**; a bare insert at that pace",
                acks,
                ack_ms,
                ACK,
                beside=quantiles(steady.bare)[0],
            ),
            shown("from a payment's first event to the orchestrator: p50 / p99, ms", quantiles(steady.to_sink)[0]),
        ],
        notes=(
            f"Bursts over {AT_ONCE} connections. {FAILING:.0%} of their events fail at first: {refused} "
            f"arrivals were refused and sent again, {failed} times work failed after it was done and was done "
            "again, a second later at the earliest. Of each payment eleven events: it is paid, and refunded twice with "
            "what its seller and the platform had of that. The gateway, PostgreSQL, the stand-in for Stripe and who "
            "sends share the machine.",
        ),
    )

"""One round: many watchers and writers on several replicas while things go wrong; then quiet, and the verdict.

What is drawn from the seed: who watches what from where, who writes what, the whims of all, what goes wrong and when.
What is not: how these meet, since processes, the network and the database run as fast as the machine lets them. A seed
makes the same trouble again, and most likely the same kind of trouble with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

from tests.status.history.checker.findings import MAY_PASS, Finding
from tests.status.history.checker.verdict import findings_of
from tests.status.history.harness.audience import LATE_PAYMENTS, LONG_PAYMENTS, Audience
from tests.status.history.harness.cluster import DATABASE_IS_AWAY, Cluster
from tests.status.history.harness.follow_client import client_of
from tests.status.history.harness.plan import Trouble, draw_plan
from tests.status.history.harness.trouble import Troubles
from tests.status.history.harness.world import World
from tests.status.history.harness.writers import Writers
from tests.status.history.reports import Report
from tests.status.history.stored import Stored, read_stored
from tests.status.watching import SMALL_WINDOW

CREWS: Final = 5
"""Groups of callers, each with connections of its own to every replica. The last reads slowly, with a small window."""
WRITERS: Final = 24
CLIENTS: Final = 20
"""Watches by the client package."""
BURST_EVERY_S: Final = 2.0
CAUGHT_UP_WITHIN_S: Final = 30.0
"""After the last trouble: reconnects wait half a second, a lost hint two; the rest is for a slow machine."""
LOOK_AGAIN_S: Final = 0.3
FINDINGS_TOLD_MAX: Final = 30
COMPLAINTS_TOLD_MAX: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a round is."""

    seconds: float
    """Of trouble."""
    trouble_every_s: float
    watchers: int
    """Watches of a payment, and feeds."""
    payments: int
    writes_per_s: float
    """As much as all writers try together."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a round."""

    seed: str
    plan: list[Trouble]
    findings: list[Finding]
    told: dict[str, int]
    complaints: list[str]

    def __str__(self) -> str:
        return "\n".join(
            [
                f"seed {self.seed}",
                *map(str, self.plan),
                *(f"{count:7} {what}" for what, count in sorted(self.told.items())),
                f"{len(self.findings)} findings",
                *map(str, self.findings[:FINDINGS_TOLD_MAX]),
                *(complaint[:1_000] for complaint in self.complaints[-COMPLAINTS_TOLD_MAX:]),
            ]
        )


async def play_round(cluster: Cluster, seed: str, size: Size) -> Outcome:
    """Play the round of a seed, and judge it."""
    plan = draw_plan(seed, seconds=size.seconds, every_s=size.trouble_every_s, replicas=cluster.size, crews=CREWS + 1)
    try:
        return await _play(cluster, seed, size, plan)
    except Exception as error:
        error.add_note("\n".join([f"seed {seed}", *map(str, plan), *cluster.complaints()[-COMPLAINTS_TOLD_MAX:]]))
        raise


async def _play(cluster: Cluster, seed: str, size: Size, plan: list[Trouble]) -> Outcome:
    world = World(settled_xid=cluster.settled_xid)
    async with AsyncExitStack() as stack:
        crews = [
            await stack.enter_async_context(cluster.roads(options=SMALL_WINDOW if crew == CREWS - 1 else ()))
            for crew in range(CREWS + 1)
        ]
        writers = Writers(world, [road.stub for road in crews[CREWS]], random.Random(f"{seed}/opening"))
        payment_ids = [await writers.open(number, is_long=number < LONG_PAYMENTS) for number in range(size.payments)]
        late = [await writers.open(size.payments + number) for number in range(LATE_PAYMENTS)]
        audience = Audience(world, [[road.stub for road in crew] for crew in crews[:CREWS]], seed)
        troubles = Troubles(
            cluster,
            crews,
            world,
            random.Random(f"{seed}/trouble"),
            late=late,
            long=payment_ids[:LONG_PAYMENTS],
        )
        client = await stack.enter_async_context(client_of([road.link for road in crews[0]], cluster.token))
        watching = [
            asyncio.ensure_future(one)
            for one in (
                *audience.gather([*payment_ids, *late], size.watchers - CLIENTS),
                *audience.with_client(client, [*payment_ids[LONG_PAYMENTS:], *late], CLIENTS),
            )
        ]
        stack.push_async_callback(_cancel, watching)
        writing = [asyncio.ensure_future(one) for one in _writing(writers, seed, size)]
        stack.push_async_callback(_cancel, writing)
        looking = asyncio.ensure_future(_look_at_times(cluster, payment_ids, times=2, within_s=size.seconds))
        stack.push_async_callback(_cancel, [looking])

        await asyncio.gather(troubles.make(plan), asyncio.sleep(size.seconds))
        world.hush()
        await asyncio.gather(*writing)
        earlier = await looking
        async with cluster.admin() as connection:
            stored = await read_stored(connection, payment_ids=writers.payment_ids)
        world.still.set()
        report = audience.report(attempts=[*writers.attempts, *troubles.attempts], readings=writers.readings)
        findings = await _judged(stored, report, earlier, watching)
    return Outcome(
        seed=seed,
        plan=plan,
        findings=findings,
        told=dict(world.told) | {"transitions stored": sum(payment.last for payment in stored.values())},
        complaints=cluster.complaints() if findings else [],
    )


def _writing(writers: Writers, seed: str, size: Size) -> list[Coroutine[Any, Any, None]]:
    chances = [random.Random(f"{seed}/writer/{number}") for number in range(WRITERS)]
    long, others = writers.payment_ids[:LONG_PAYMENTS], writers.payment_ids[LONG_PAYMENTS : size.payments]
    return [
        *(
            writers.write_in_bursts(payment_id, chance, pause_s=BURST_EVERY_S)
            for payment_id, chance in zip(long, chances, strict=False)
        ),
        *(
            writers.write(others, chance, pause_s=WRITERS / size.writes_per_s, seconds=size.seconds)
            for chance in chances[LONG_PAYMENTS:]
        ),
    ]


async def _look_at_times(cluster: Cluster, payment_ids: Sequence[str], *, times: int, within_s: float) -> list[Stored]:
    """Read what is stored at some times, to compare with what is stored in the end."""
    looks = []
    for _ in range(times):
        await asyncio.sleep(within_s / (times + 1))
        async with cluster.admin() as connection:
            with suppress(*DATABASE_IS_AWAY):
                looks.append(await read_stored(connection, payment_ids=payment_ids))
    return looks


async def _judged(
    stored: Stored, report: Report, earlier: Sequence[Stored], watching: Sequence[asyncio.Future[None]]
) -> list[Finding]:
    """Judge, and again while somebody has not caught up and there is time left."""
    loop = asyncio.get_running_loop()
    until = loop.time() + CAUGHT_UP_WITHIN_S
    while findings := findings_of(stored, report, earlier=earlier):
        for watcher in watching:
            if watcher.done():
                watcher.result()
        if loop.time() > until or not any(one.kind in MAY_PASS for one in findings):
            break
        await asyncio.sleep(LOOK_AGAIN_S)
    return findings


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

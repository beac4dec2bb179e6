"""Hundreds of watchers on several replicas while things go wrong: each is sent exactly what is stored.

`make test-faults` has a moment of each trouble, before fewer watchers, and a round as the long ones are.

make soak                                             rounds for three minutes, from a new seed
BATZEN_HISTORY_SEED=7 BATZEN_HISTORY_SECONDS=600 make soak
BATZEN_HISTORY_SEED=7/3 BATZEN_HISTORY_SECONDS=1 …    one round alone, whose seed a failure told
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from grpc import aio

from batzen._channel import streaming
from batzen.status.v1 import status_pb2 as pb
from tests.eventually import WITHIN_S, persistently
from tests.status.conftest import move
from tests.status.history.harness.cluster import Cluster
from tests.status.history.harness.round import Outcome, Size, play_round
from tests.status.samples import open_request, snapshot

FAULTS: Final = pytest.mark.faults

# Read now: no setting of the person who runs the tests reaches a test.
SEED: Final = os.environ.get("BATZEN_HISTORY_SEED") or str(random.SystemRandom().randrange(1_000_000))
SECONDS: Final = float(os.environ.get("BATZEN_HISTORY_SECONDS") or 180)

MOMENT: Final = Size(seconds=3, trouble_every_s=0.3, watchers=160, payments=10, writes_per_s=100)
"""Large enough that a replica which loses, repeats or reorders what it sends is found out at once."""
SHORT: Final = Size(seconds=8, trouble_every_s=0.6, watchers=500, payments=40, writes_per_s=200)
CRASHES_MAX: Final = 10
TRACELESS: Final = 10
LONG: Final = Size(seconds=25, trouble_every_s=1.0, watchers=500, payments=60, writes_per_s=200)


@FAULTS
@pytest.mark.parametrize(("size", "seed"), [(MOMENT, "13"), (SHORT, "14")], ids=["moment", "short"])
async def test_a_short_history_under_trouble_is_seen_as_it_is_stored(cluster: Cluster, size: Size, seed: str) -> None:
    """Of one seed the payments are the same, and rounds on the same replicas must not have any in common."""
    outcome = await play_round(cluster, seed, size)

    assert_all_is_well(outcome, size)


@pytest.mark.soak
async def test_long_histories_under_trouble_are_seen_as_they_are_stored(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            sys.stderr.write(f"\n{text}")

    say(f"BATZEN_HISTORY_SEED={SEED} BATZEN_HISTORY_SECONDS={SECONDS:.0f}\n")
    until, number, told = time.monotonic() + SECONDS, 0, Counter[str]()
    while time.monotonic() < until:
        outcome = await play_round(cluster, f"{SEED}/{number}" if number else SEED, LONG)
        assert_all_is_well(outcome, LONG)
        told.update(outcome.told)
        number += 1
    say("\n".join([f"{number} rounds", *(f"{count:8} {what}" for what, count in sorted(told.items()))]) + "\n")


@FAULTS
async def test_a_feed_skips_nothing_when_the_database_has_crashed(cluster: Cluster) -> None:
    """The numbers of transactions that left no trace before a crash are given again after it."""
    async with cluster.roads() as roads, nothing_in_the_background(cluster):
        status = roads[0].stub
        payment_id = (await until_it_works(lambda: status.OpenPayment(open_request()))).payment.payment_id
        for _ in range(CRASHES_MAX):  # the log may have got to know of the numbers, by something in the background
            async with cluster.admin() as connection:
                for _ in range(TRACELESS):
                    before = int(await connection.fetchval("SELECT pg_current_xact_id()::text"))
            cursor = (await until_it_works(lambda: status.ListPayments(pb.ListPaymentsRequest()))).cursor
            await cluster.crash_database()
            if await cluster.settled_xid() < before:
                break
        else:
            pytest.fail("no number was given again")
        await until_it_works(lambda: move(status, payment_id, snapshot()))

        request = pb.WatchPaymentsRequest(cursor=cursor, close_when=pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP)
        async with streaming(status.WatchPayments(request, timeout=WITHIN_S)) as messages:
            changes = [change async for message in messages for change in message.changes]

    assert (payment_id, 2) in {(change.payment.payment_id, change.payment.revision) for change in changes}


@asynccontextmanager
async def nothing_in_the_background(cluster: Cluster) -> AsyncIterator[None]:
    """Let the server look after no table inside: that leaves later numbers in its log, of those before as well."""
    await _set(cluster, "SET autovacuum = off")
    try:
        yield
    finally:
        await _set(cluster, "RESET autovacuum")


async def _set(cluster: Cluster, change: str) -> None:
    async with cluster.admin() as connection:
        await connection.execute(f"ALTER SYSTEM {change}")
        await connection.execute("SELECT pg_reload_conf()")


async def until_it_works(call: Callable[[], Awaitable[Any]]) -> Any:
    return await persistently(call, again=aio.AioRpcError)


def assert_all_is_well(outcome: Outcome, size: Size) -> None:
    """Nothing was found, and that says something: a round in which little was written or seen would prove little."""
    told = outcome.told
    ends = sum(count for what, count in told.items() if what.startswith("ends of"))
    little = [
        what
        for what, is_little in {
            "written": told["transitions stored"] < size.writes_per_s * size.seconds / 20,
            "seen": told["transitions seen"] < 5 * told["transitions stored"],
            "resumed": ends < size.watchers,
            "made of the plan": not {f"trouble: {trouble.kind}" for trouble in outcome.plan} <= told.keys(),
        }.items()
        if is_little
    ]
    if outcome.findings or little:
        pytest.fail("\n".join([str(outcome), *(f"little was {what}" for what in little)]), pytrace=False)

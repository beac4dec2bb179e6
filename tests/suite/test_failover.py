"""The leader of a database cluster dies, hangs and hands over under the suite's load: nothing acknowledged is lost.

make soak, where etcd and Patroni are (tests/suite/patroni.py says how to get them)
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from grpc import aio

from batzen import errors
from batzen._channel import streaming
from batzen.client import Client
from batzen.status.v1 import status_pb2
from local.ports import free_ports
from local.storage import Storage
from local.suite import Suite, running_suite
from tests.batzen.tcp_proxy import TcpProxy
from tests.eventually import eventually, persistently
from tests.forking import ForkServer
from tests.suite.journeys import PAYER, Traveller
from tests.suite.patroni import Node, PatroniCluster, make_cluster, needs_patroni
from tests.suite.soaking import PLAYERS, Calm, Player, Plot, Troubles, play_all, soaking
from tests.suite.verdict import comes_right, problems

SEED: Final = int(os.environ.get("BATZEN_SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
WRITES: Final = frozenset(f"{command}PaymentResponse" for command in ("Start", "Submit", "Sync", "Refund", "Cancel"))
ANSWERED_BEFORE: Final = 40
ANSWERED_AFTER: Final = 200
"""Answered writes between two faults, so that each fault meets the whole suite at work."""
GOES_ON_WITHIN_S: Final = 60.0
"""Of an outage; what is promised as the time to recover."""
CUT_ANSWERS: Final = 40
"""Writes that are answered while no standby hears of them, in the control."""
CALLS_THAT_FAIL: Final = 4 * PLAYERS
"""So that each payer repeated a call that waits for a standby."""
ZOMBIE_PATIENCE_S: Final = 60.0

Say = Callable[[str], None]

pytestmark = [pytest.mark.soak, needs_patroni]


class Load:
    """Payers and watchers that go on until they are told to stop, and one who follows the feed of all payments."""

    def __init__(self, suite: Suite, player: Player, troubles: Troubles, traveller: Traveller) -> None:
        self.suite = suite
        self.player = player
        self.troubles = troubles
        self.traveller = traveller
        self.fed: dict[str, list[int]] = defaultdict(list)
        """What the feed carried of each payment, each revision once."""
        self._cursor = ""
        self._is_over = False
        self.playing = asyncio.create_task(play_all(player, self._plot))

    def _plot(self, number: int) -> Plot | None:
        return None if self._is_over else Plot.draw(SEED, number)

    @property
    def answered_at(self) -> list[float]:
        """When each write was answered."""
        return [at for at, kind in self.player.answers if kind in WRITES]

    async def goes_on(self, answers: int) -> None:
        """Wait until so many more writes are answered; raises what ended the load."""
        wanted = len(self.answered_at) + answers

        def is_enough() -> bool:
            if self.playing.done():
                self.playing.result()
            return len(self.answered_at) >= wanted

        what = lambda: f"{wanted - len(self.answered_at)} of {answers} more answers"  # noqa: E731
        await eventually(is_enough, within_s=GOES_ON_WITHIN_S + answers, what=what)

    @property
    def failed(self) -> int:
        """How many calls were not answered."""
        return sum(count for what, count in self.troubles.told.items() if what.startswith("calls that ended"))

    def gap_s(self, since: float) -> float:
        """Return the longest time in which no write was answered, from a moment on."""
        moments = [since, *(at for at in self.answered_at if at > since)]
        return max((after - before for before, after in pairwise(moments)), default=0.0)

    async def stop(self) -> None:
        """Let what was begun come to its end."""
        self._is_over = True
        await self.playing

    async def follow(self, client: Client) -> None:
        """Follow the feed for ever, after each end from where it was."""
        self._cursor = (await client.status.ListPayments(status_pb2.ListPaymentsRequest(page_size=1))).cursor
        while True:
            await persistently(
                lambda: self._follow_once(client), again=(errors.BatzenError, aio.AioRpcError), within_s=math.inf
            )

    async def _follow_once(self, client: Client) -> None:
        request = status_pb2.WatchPaymentsRequest(cursor=self._cursor)
        async with streaming(client.status.WatchPayments(request)) as messages:
            async for message in messages:
                for change in message.changes:
                    seen = self.fed[change.payment.payment_id]
                    if change.payment.revision not in seen:
                        seen.append(change.payment.revision)
                self._cursor = message.cursor or self._cursor


@asynccontextmanager
async def cluster_of_three(*, is_synchronous: bool) -> AsyncIterator[PatroniCluster]:
    """A cluster that is not started yet, in a folder that its user may enter."""
    with tempfile.TemporaryDirectory(prefix="batzen-cluster-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield make_cluster(folder, is_synchronous=is_synchronous)


@asynccontextmanager
async def linked_cluster(*, is_synchronous: bool) -> AsyncIterator[tuple[PatroniCluster, Mapping[str, TcpProxy]]]:
    """A running cluster whose standbys come to each server over a link that can be cut."""
    async with cluster_of_three(is_synchronous=is_synchronous) as cluster, AsyncExitStack() as stack:
        links: dict[str, TcpProxy] = {}
        for node in cluster.nodes.values():
            links[node.name] = await stack.enter_async_context(TcpProxy.to(node.port))
            cluster.replication_ports[node.name] = links[node.name].port
        await stack.enter_async_context(cluster.running())
        yield cluster, links


def cut_off(link: TcpProxy) -> None:
    """Let nothing through any more, without a word to either side."""
    link.fall_silent()
    link.lead_nowhere()


@asynccontextmanager
async def loaded(cluster: PatroniCluster) -> AsyncIterator[Load]:
    """The whole suite on the cluster, with all its payers at work."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-failover-")))
        storage = Storage(admin_url=cluster.admin_url, passwords=folder / "passwords.json", prefix="failover_")
        forks = await stack.enter_async_context(ForkServer())
        running = running_suite(folder / "suite", ports=free_ports(), storage=storage, spawn=forks.spawn)
        suite = await stack.enter_async_context(running)
        shop = await stack.enter_async_context(suite.client("service", sub="shop"))
        payer = await stack.enter_async_context(suite.client("payer", sub=PAYER))
        traveller = Traveller(suite, shop, payer, suite.sandbox)
        await traveller.put_seller()
        player, troubles = await stack.enter_async_context(soaking(suite, SEED, troubles_of=Calm))
        load = Load(suite, player, troubles, traveller)
        following = asyncio.create_task(load.follow(shop))
        try:
            yield load
        finally:
            for task in (following, load.playing):
                task.cancel()
            await asyncio.wait((following, load.playing))


async def test_no_acknowledged_fact_is_lost_by_three_failovers(say: Say) -> None:
    say(f"BATZEN_SOAK_SEED={SEED}\n")
    async with (
        cluster_of_three(is_synchronous=True) as cluster,
        cluster.running(),
        loaded(cluster) as load,
    ):
        before = {process: load.suite.pid(process) for process in load.suite.processes}
        for name, fault in (("killed", _kill), ("hung", _hang), ("switched over", _switch_over)):
            await load.goes_on(ANSWERED_BEFORE)
            leader, began = await cluster.leader(), time.monotonic()
            await fault(cluster, leader, load)
            await load.goes_on(ANSWERED_AFTER)
            say(f"leader {name}: {load.gap_s(began):5.1f} s without an answered write")
            await cluster.until_whole()
        await load.stop()
        await comes_right(load.suite, load.traveller, load.player, load.troubles)

        say(f"{len(load.player.claims)} payments, {len(load.answered_at)} answered writes, none lost\n")
        assert {process: load.suite.pid(process) for process in load.suite.processes} == before
        await eventually(lambda: not _not_fed(load), what=lambda: f"the feed lacks {_not_fed(load)}")


async def _kill(cluster: PatroniCluster, leader: Node, _: Load) -> None:
    """Lose the leader's machine; one like it comes back later."""
    cluster.kill(leader)
    await cluster.leader(other_than=leader)
    cluster.start(leader)


async def _hang(cluster: PatroniCluster, leader: Node, load: Load) -> None:
    """Have the leader's machine stop for longer than its lease; then it goes on, and is not believed."""
    zombie = await asyncpg.connect(cluster.direct_url(leader))
    await zombie.execute("CREATE TABLE IF NOT EXISTS said_by_a_zombie (fact text)")
    asleep = cluster.hang(leader)
    await cluster.leader(other_than=leader)
    await load.goes_on(ANSWERED_BEFORE)
    writing = asyncio.create_task(zombie.execute("INSERT INTO said_by_a_zombie VALUES ('committed')"))
    cluster.wake(asleep)
    with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
        async with asyncio.timeout(ZOMBIE_PATIENCE_S):
            await writing
    zombie.terminate()
    new = await asyncpg.connect(cluster.direct_url(await cluster.leader(other_than=leader)))
    assert await new.fetchval("SELECT count(*) FROM said_by_a_zombie") == 0
    await new.close()


async def _switch_over(cluster: PatroniCluster, leader: Node, _: Load) -> None:
    await cluster.switch_over(leader)
    await cluster.leader(other_than=leader)


def _not_fed(load: Load) -> list[str]:
    """Return the payments of which the feed did not carry each revision, in order."""
    return [
        claim.payment_id
        for claim in load.player.claims
        if load.fed[claim.payment_id] != list(range(1, len(load.fed[claim.payment_id]) + 1))
        or len(load.fed[claim.payment_id]) < len(claim.revisions)
    ]


async def test_what_no_standby_has_is_acknowledged_to_nobody(say: Say) -> None:
    """Standbys are cut off for longer than callers wait, so that each asks again; then the leader dies.

    The control below is the same fault where commits wait for nobody.
    """
    async with linked_cluster(is_synchronous=True) as (cluster, links), loaded(cluster) as load:
        await load.goes_on(ANSWERED_BEFORE)
        leader, began = await cluster.leader(), time.monotonic()

        cut_off(links[leader.name])
        failed = load.failed
        await eventually(lambda: load.failed - failed >= CALLS_THAT_FAIL, within_s=GOES_ON_WITHIN_S)
        cluster.kill(leader)
        await load.goes_on(ANSWERED_AFTER)
        say(f"standbys cut off, then leader killed: {load.gap_s(began):5.1f} s without an answered write\n")
        await load.stop()
        await comes_right(load.suite, load.traveller, load.player, load.troubles)


async def test_what_looks_for_lost_facts_finds_them(say: Say) -> None:
    """The control: replication waits for nobody, and its link is cut for a while before the leader dies."""
    async with linked_cluster(is_synchronous=False) as (cluster, links), loaded(cluster) as load:
        await load.goes_on(ANSWERED_BEFORE)
        leader = await cluster.leader()

        cut_off(links[leader.name])
        began = time.monotonic()
        await load.goes_on(CUT_ANSWERS)
        cut_s = time.monotonic() - began
        cluster.kill(leader)
        await cluster.leader(other_than=leader)

        # The one elected may not take writes yet.
        found = await persistently(
            lambda: problems(load.suite, load.player.claims), again=(OSError,), within_s=GOES_ON_WITHIN_S
        )
        lost = [problem for problem in found if "acknowledged and is not" in problem or "which is gone" in problem]
        say(f"{CUT_ANSWERS} writes answered in {cut_s:.1f} s without a standby: {len(lost)} payments lack a fact\n")
        assert lost, found

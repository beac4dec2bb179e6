"""A few payers, readers, watchers and browsers of the services in a cluster, and what they had to complain about."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Final

from batzen.client import Client
from batzen.gateway.v1 import sellers_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from local.suite import Suite
from tests.eventually import eventually
from tests.suite.browsers import Browsers, unheard, waited
from tests.suite.cluster import REPLICAS, Cluster, in_a_cluster
from tests.suite.cluster_payers import DEADLINE_S, FAILURES, PLAYING, Load, Payers, play
from tests.suite.journeys import SELLER, Traveller
from tests.suite.soaking import COUPON_USES_MAX
from tests.suite.verdict import problems

ABANDONED_AFTER_S: Final = 20
"""So that a payment ends whose payer gave up on a slow page."""
READING: Final = 2
PAUSE_S: Final = 0.1
SETTLED_WITHIN_S: Final = 90.0

Say = Callable[[str], None]


async def read(load: Load, shop: Client, operator: Client, payment_id: str, until: asyncio.Event) -> None:
    """Read from each service again and again."""
    one = status_pb2.GetPaymentRequest(payment_id=payment_id)
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "status.GetPayment": lambda: shop.status.GetPayment(one, timeout=DEADLINE_S),
        "status.ListTransitions": lambda: shop.status.ListTransitions(
            status_pb2.ListTransitionsRequest(payment_id=payment_id), timeout=DEADLINE_S
        ),
        "orchestrator.GetPaymentPlan": lambda: operator.orchestrator.GetPaymentPlan(
            orchestrator_pb2.GetPaymentPlanRequest(payment_id=payment_id), timeout=DEADLINE_S
        ),
        "pricing.ListTaxRates": lambda: operator.pricing.ListTaxRates(
            pricing_pb2.ListTaxRatesRequest(), timeout=DEADLINE_S
        ),
        "gateway.GetSellerAccount": lambda: shop.sellers.GetSellerAccount(
            sellers_pb2.GetSellerAccountRequest(seller_id=SELLER), timeout=DEADLINE_S
        ),
    }
    while not until.is_set():
        for what, call in reads.items():
            try:
                await load.counted(what, call)
            except FAILURES:
                continue
        await waited(until, PAUSE_S)


async def follow(load: Load, shop: Client, until: asyncio.Event) -> dict[str, list[int]]:
    """Follow all payments by the feed, which goes on after its cursor; return the revisions of each as they came."""
    seen: dict[str, list[int]] = {}
    cursor, lost_at = "", None
    while True:
        call = shop.status.WatchPayments(status_pb2.WatchPaymentsRequest(cursor=cursor))
        try:
            async for message in call:
                if lost_at is not None:
                    load.gaps_s.append(time.monotonic() - lost_at)
                    lost_at = None
                for change in message.changes:
                    revisions = seen.setdefault(change.payment.payment_id, [])
                    if change.payment.revision not in revisions:  # at least once
                        revisions.append(change.payment.revision)
                cursor = message.cursor or cursor
                if until.is_set():
                    call.cancel()
                    return seen
        except FAILURES:
            lost_at = time.monotonic() if lost_at is None else lost_at


async def under_load(
    suite: Suite, traveller: Traveller, load: Load, act: Callable[[Cluster], Awaitable[None]], say: Say
) -> list[str]:
    """Do something to a cluster under load; return what is wrong then, but for the calls that failed."""
    enough, over = asyncio.Event(), asyncio.Event()
    coupon_code = await traveller.put_coupon(uses_max=COUPON_USES_MAX)
    read_of = (await traveller.start()).payment.payment_id
    async with AsyncExitStack() as stack:
        browsers = await stack.enter_async_context(Browsers.of(suite, load.failures.append))
        cluster = await stack.enter_async_context(
            in_a_cluster(suite, orchestrator={"BATZEN_ABANDONED_AFTER_S": str(ABANDONED_AFTER_S)})
        )

        async def client(role: str, sub: str) -> Client:
            made = Client(token=suite.token(role, sub=sub), addresses=cluster.addresses)
            return await stack.enter_async_context(made)

        shop, operator = await client("service", "shop"), await client("operator", "clerk")
        run = secrets.token_hex(3)  # judged are the payments of its own payers
        payers = {
            name: await client("payer", name) for name in (f"rolling_{run}_{number}" for number in range(PLAYING))
        }
        players = Payers(load, suite, shop, payers, browsers, coupon_code=coupon_code)
        async with asyncio.TaskGroup() as group:
            feed = group.create_task(follow(load, shop, over))
            playing = group.create_task(play(players, enough))
            group.create_task(browsers.operate(suite, enough))
            for _ in range(READING):
                group.create_task(read(load, shop, operator, read_of, enough))
            await act(cluster)
            enough.set()
            await playing
            with suppress(TimeoutError):  # what was not settled by then is told below
                async with asyncio.timeout(SETTLED_WITHIN_S + ABANDONED_AFTER_S):
                    await players.until_all_is_watched()
            over.set()
        await suite.sandbox.drain()
        left: list[str] = []

        async def is_quiet() -> bool:
            left[:] = await traveller.left_to_do()
            return not left

        try:
            await eventually(is_quiet, within_s=SETTLED_WITHIN_S, what=lambda: f"nothing is left to do, but {left}")
        finally:
            load.came_back = browsers.came_back
            tell(say, cluster, load, players, browsers)
        return [
            *cluster.told.wrongs,
            *await problems(suite, players.claims),
            *unbroken(feed.result()),
            *unheard(browsers.tabs),
        ]


def unbroken(feed: dict[str, list[int]]) -> list[str]:
    """Return the payments of which the feed left out a revision, from the first that it has, or changed their order."""
    return [
        f"the feed has {revisions} of {payment_id}"
        for payment_id, revisions in feed.items()
        if revisions != list(range(revisions[0], revisions[0] + len(revisions)))
    ]


def tell(say: Say, cluster: Cluster, load: Load, players: Payers, browsers: Browsers) -> None:
    told, late = cluster.told, sorted(load.late_s)
    say(f"{told.restarts} rolling restarts of {REPLICAS} pods each, {len(players.claims)} payments")
    say(f"a pod was ready after {min(told.starts_s):.1f} to {max(told.starts_s):.1f} s")
    say(f"{told.started_again} containers ended before they were ready, and were started again")
    say(f"one ended within {max(told.ends_s):.2f} s of SIGTERM")
    say(f"{load.calls.total()} calls, {len(load.failures)} failed")
    say("slowest: " + ", ".join(f"{what} {seconds:.2f} s" for what, seconds in sorted(load.slowest_s.items())))
    say(f"{len(late)} updates came {late[len(late) // 2]:.3f} s (p50), {late[-1]:.3f} s (at most) after their commit")
    gaps = sorted(load.gaps_s)
    say(f"the feed lost its stream {len(gaps)} times, for {gaps[-1] if gaps else 0:.3f} s at most")
    say(
        f"{len(browsers.tabs)} tabs were told {sum(len(tab.revisions) for tab in browsers.tabs)} revisions on "
        f"{browsers.streams} streams: {browsers.came_back} times one came back, {browsers.cut} of them were cut"
    )
    say(f"answered were {dict(browsers.answers)}; {browsers.refused} connections were refused")
    say("\n".join([*load.failures[:20], *told.wrongs[:20]]) + "\n")
